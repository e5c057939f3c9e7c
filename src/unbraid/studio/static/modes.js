// One card for each mode: how much it holds, what it is like, what decides it, who it is taken for, what is certified.

import { get, say } from "./api.js";
import { chip, element, estimate, estimateOfShare, percent, rebuilt } from "./marks.js";
import { drawPlots, drawScene, sightOf } from "./scene.js";

export function modesView(panel, studio) {
  const list = element("div", { className: "cards", id: "cards" });
  const source = element("p", { className: "small muted", id: "cards-source", hidden: true }, "Which inputs decide and what a mode is taken for are of the data shown: which episodes training left out is not known.");
  const leftOut = element("div", { id: "cards-left-out" });
  panel.append(source, leftOut, list);
  let stale = true, asked = 0, deciding = null, decidedFor = "", fromAbove = true;

  function examples(title, episodes) {
    return element("div", { className: "row gap" }, element("span", { className: "muted small" }, title),
      ...episodes.map((episode) => element("button", { type: "button", title: `Play episode ${episode}`, on: { click: () => studio.play(episode) } }, `${episode}`)));
  }

  function table(rows) {
    return element("table", {}, element("tbody", {}, ...rows.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)))));
  }

  function card(told, heldOut) {
    const mode = studio.mode(told.mode) ?? told;
    const rows = [["share of steps", percent(told.share_of_steps, 1)], ["episodes", `${told.n_episodes} (${percent(told.share_of_episodes, 1)})`],
      ...Object.entries(told.measured).map(([name, value]) => [name, estimate(value)])];
    const taken = told.taken_for.filter((entry) => entry.probability.value >= 0.0005).slice(0, 3);
    const paths = element("div", { className: "paths", hidden: true }), profile = element("figure", { className: "profile", hidden: true });
    profile.dataset.mode = told.mode;
    const decides = element("div", { className: "decides" }, element("p", { className: "muted small" }, "Working out which inputs decide…"));
    decides.dataset.mode = told.mode;
    const steered = Object.entries(told.steered.metrics ?? {}).map(([name, value]) => [name, estimate(value)]);
    const made = element("article", { className: "card" },
      element("header", {}, element("h2", {}, chip(mode)), element("button", { type: "button", on: { click: () => studio.edit(mode) }, ariaLabel: `Name, merge or note ${mode.name}` }, "✎ Edit")),
      mode.note ? element("p", {}, mode.note) : null,
      paths, profile,
      table(rows),
      told.n_episodes ? examples("Typical", told.typical) : null,
      told.borderline.length ? examples("Borderline", told.borderline) : null,
      element("h3", {}, "Which inputs decide"), decides,
      element("h3", {}, "Taken for"),
      ...(taken.length
        ? [table(taken.map((entry) => [studio.mode(entry.mode)?.name ?? entry.mode, estimateOfShare(entry.probability)])),
          element("p", { className: "small muted" }, `Mean probability in ${told.window_steps}-step windows that are read as this mode; 95 % interval over episodes.`)]
        : [element("p", { className: "small muted" }, studio.modes.length < 2 ? "There is no other mode." : told.n_windows ? "Hardly ever another mode." : `No ${heldOut ? "held-out " : ""}window is read as this mode.`)]),
      element("h3", {}, "Certificate"),
      ...(told.certificate.length ? told.certificate.map((claim) => element("p", { className: "small" }, `${claim.sentence}${claim.env_id ? `, in ${claim.env_id}` : ""}${claim.max_steps ? `, cut after ${claim.max_steps} steps` : ""}.`)) : [element("p", { className: "small muted" }, "None. `unbraid certify` makes one.")]),
      steered.length ? element("details", {}, element("summary", {}, "Steered towards it, by results.json"), table(steered)) : null);
    made.drawPaths = () => drawPaths(paths, told.typical.slice(0, 3), mode);
    return made;
  }

  // Whether there were paths to draw.
  async function drawPaths(place, episodes, mode) {
    for (const episode of episodes) {
      const above = (await get("/api/episode", { episode }).catch(() => ({}))).from_above;
      if (!above) return false;
      const canvas = element("canvas", { className: "stage", role: "img", ariaLabel: `The path of episode ${episode}, typical of ${mode.name}` });
      place.hidden = false;
      place.append(canvas);
      canvas.repaint = () => drawScene(canvas, above.layout, above.frames.at(-1), above.frames.map((scene) => [scene.robot[0], scene.robot[1], 0]), () => ({ color: mode.color }), sightOf(above.layout, above.frames.map((scene) => scene.robot)));
      canvas.repaint();
    }
    return true;
  }

  // Where there is no picture from above: the columns that are chosen, of all modes on one scale.
  async function drawProfiles() {
    await studio.columns.load();
    const columns = studio.columns.drawn(), { profiles } = await get("/api/profiles", { column: columns });
    const limits = columns.map((_, i) => {
      const all = profiles.flatMap((own) => (own.columns[i] ? [...own.columns[i].low, ...own.columns[i].high, ...own.columns[i].mean] : []));
      return [Math.min(...all), Math.max(...all)];
    });
    for (const place of list.querySelectorAll(".profile")) {
      const own = profiles.find(({ mode }) => mode === Number(place.dataset.mode)), mode = studio.mode(own?.mode ?? -1);
      place.hidden = !mode || !own.columns.length;
      if (place.hidden) continue;
      const names = columns.map((column) => studio.columns.names[column]);
      const canvas = element("canvas", { className: "plots", role: "img", ariaLabel: `${names.join(", ")} over time in typical episodes of ${mode.name}` });
      canvas.style.height = `${columns.length * 62 + 18}px`;
      canvas.repaint = () => drawPlots(canvas, own.columns.map(({ low, mean, high }, i) => ({ name: names[i], values: mean, limits: limits[i], band: [low, high], color: mode.color })), [0, own.steps]);
      const n = own.n_episodes;
      place.replaceChildren(canvas, element("figcaption", { className: "small muted" }, `${n === 1 ? "The most typical episode" : `The ${n} most typical episodes`}: mean, and the middle 80 % of values; all cards have one scale.`));
      canvas.repaint();
    }
  }

  function showDeciding() {
    for (const place of list.querySelectorAll(".decides")) {
      const rows = deciding.filter((entry) => entry.mode === Number(place.dataset.mode)).slice(0, 5);
      place.replaceChildren(rows.length
        ? element("div", {}, table(rows.map((entry) => [entry.name, `${estimate(entry.lost_nats, 1)} nats`])), element("p", { className: "small muted" }, `Evidence lost per ${rows[0].window_steps}-step window when the input is swapped between windows; 95 % interval.`))
        : element("p", { className: "small muted" }, "No window is read as this mode."));
    }
  }

  async function load() {
    stale = false;
    const mine = asked += 1, leads = String(studio.leads); // what is asked for again meanwhile is not drawn
    if (!list.childElementCount) list.replaceChildren(element("p", { className: "empty" }, "Reading the episodes…"));
    try {
      const { cards, held_out: heldOut, left_out: without } = await get("/api/cards");
      if (mine !== asked) return;
      rebuilt(list, ...cards.map((told) => card(told, heldOut)));
      source.hidden = heldOut;
      leftOut.replaceChildren(...without.map((text) => element("p", { className: "remark" }, text)));
      const drawn = await Promise.all([...list.children].map((made) => made.drawPaths()));
      if (mine !== asked) return;
      fromAbove = drawn.every(Boolean);
      if (!fromAbove) await drawProfiles();
    } catch (error) { if (mine === asked) { stale = true; list.replaceChildren(element("p", { className: "empty" }, error.message)); } return; }
    try {
      if (decidedFor !== leads) deciding = null; // merged modes are decided by something else
      const found = deciding ?? (await get("/api/deciding")).deciding;
      if (mine !== asked) return;
      [deciding, decidedFor] = [found, leads];
      showDeciding();
    } catch (error) { // the rest of the cards stays
      if (mine !== asked) return;
      stale = true;
      for (const place of list.querySelectorAll(".decides")) place.replaceChildren(element("p", { className: "small muted" }, error.message));
    }
  }

  return {
    columns() { if (!fromAbove && list.querySelector(".profile")) drawProfiles().catch((error) => say(error.message, true)); },
    changed() { stale = true; },
    shown() { if (stale) load().catch((error) => say(error.message, true)); },
    redraw() { for (const canvas of list.querySelectorAll(".card canvas")) canvas.repaint?.(); },
  };
}
