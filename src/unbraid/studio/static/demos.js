// All episodes at once: a canvas that draws the rows in sight, and a player for the one that was chosen.

import { get, post, say } from "./api.js";
import { foldedPicker } from "./columns.js";
import { chip, css, element, fill, framed, pathKey, percent, rebuilt, sharp } from "./marks.js";
import { drawPlots, drawScene, limitsOf, sightOf } from "./scene.js";

const ROW = 26, PAGE = 200;
const ORDERS = [["odd", "Odd ones first"], ["certainty", "Least certain first"], ["mode", "By mode"], ["return", "By return"], ["cost", "By cost"], ["length", "By length"], ["episode", "As recorded"]];
// What the list shows of an episode, by what it is sorted by.
const NUMBERS = {
  odd: ["oddness", (row) => row.oddness.toFixed(1)], certainty: ["certainty", (row) => percent(row.certainty, row.certainty > 0.995 ? 0 : 1)],
  return: ["return", (row) => row.return.toFixed(1)], cost: ["cost", (row) => String(Number(row.cost.toFixed(1)))], length: ["steps", (row) => String(row.steps)],
};

export function demosView(panel, studio) {
  if (!studio.about.has_demos) {
    panel.append(element("p", { className: "empty" }, "The demonstrations are not at hand. Start again with --demos PATH to see them; everything else works."));
    return {};
  }
  let n = null, longest = 1, at = -1, chosen = null, filter = null, asked = 0, grouping = "";
  const pages = new Map();

  const order = element("select", { id: "order", ariaLabel: "Order" }, ...ORDERS.map(([value, title]) => element("option", { value }, title)));
  const turn = element("button", { type: "button", id: "turn", "aria-pressed": "false", title: "Turn the order round" }, "Reverse");
  const canvas = element("canvas", { ariaHidden: "true" });
  const spacer = element("div", { className: "spacer" });
  const scroller = element("div", { className: "timeline", id: "timeline", tabIndex: 0, role: "application", ariaLabel: "Episodes. Arrow keys choose one, Enter plays it." }, spacer, canvas);
  const heads = element("div", { className: "heads", ariaHidden: "true" });
  const told = element("p", { className: "small muted", id: "told", role: "status", ariaLive: "polite" }, "Reading the episodes…");
  const chips = element("div", { className: "chips", id: "chips" });
  const side = element("div", { className: "card", id: "player" }, element("p", { className: "empty" }, "Choose an episode: it is played here."));
  panel.append(element("div", { className: "two" },
    element("div", { className: "card" }, element("div", { className: "row" }, element("label", {}, "Order ", order), turn), chips, heads, scroller, told), side));

  function rowAt(index) { return pages.get(Math.floor(index / PAGE))?.[index % PAGE]; }

  async function load(page) {
    if (pages.has(page)) return;
    pages.set(page, null);
    const mine = asked;
    try {
      const found = await get("/api/episodes", { by: order.value, descending: turn.getAttribute("aria-pressed"), offset: page * PAGE, limit: PAGE, mode: filter });
      if (mine !== asked) return;
      pages.set(page, found.rows);
      if (found.n !== n || found.longest !== longest) { n = found.n; longest = Math.max(found.longest, 1); size(); }
      for (const option of order.options) option.disabled = found.recorded[option.value] === false;
      say_where();
      draw();
    } catch (error) { if (mine === asked) { pages.delete(page); if (n === null) told.textContent = error.message; say(error.message, true); } }
  }

  function renew() { asked += 1; pages.clear(); at = -1; scroller.scrollTop = 0; load(0); }

  function size() { spacer.style.height = `${Math.max(n * ROW, 1)}px`; }

  function say_where() {
    const row = rowAt(at);
    const mode = row && studio.mode(row.mode);
    told.textContent = row
      ? `Episode ${row.episode}: ${mode?.name ?? row.mode}, certainty ${row.certainty.toFixed(3)}, ${row.steps} steps` +
        `${row.return === null ? "" : `, return ${row.return.toFixed(2)}`}${row.cost === null ? "" : `, cost ${row.cost.toFixed(0)}`}, oddness ${row.oddness}${row.note ? `. Note: ${row.note}` : ""}`
      : `${n.toLocaleString()} episodes. A click, or arrow keys and Enter, plays one.`;
  }

  // Certainty, and the number that the list is sorted by, or what the episode brought; the second alone where it is narrow.
  function columns(narrow) {
    const second = NUMBERS[order.value] ?? NUMBERS[rowAt(0)?.return === null ? "odd" : "return"];
    if (narrow) return [second];
    return [NUMBERS.certainty, order.value === "certainty" ? NUMBERS[rowAt(0)?.return === null ? "odd" : "return"] : second];
  }

  function drawHeads(name, shown) {
    const head = (text, width, align = "right") => { const span = element("span", {}, text); span.style.width = `${width}px`; span.style.textAlign = align; return span; };
    heads.replaceChildren(head("no.", 39), head("mode", name - 6, "left"), ...shown.map(([title]) => head(title, 62)), head("time, to the right", 130));
    heads.children[1].style.paddingLeft = "8px";
  }

  function draw() {
    canvas.style.width = `${scroller.clientWidth}px`;
    canvas.style.height = `${scroller.clientHeight}px`;
    const { context: c, width, height } = sharp(canvas);
    const narrow = width < 520;
    const name = narrow ? 104 : 150, shown = columns(narrow), left = 44 + name + 62 * shown.length, wide = width - left - 10;
    drawHeads(name, shown);
    const first = Math.floor(scroller.scrollTop / ROW), last = Math.min(n, Math.ceil((scroller.scrollTop + height) / ROW));
    c.font = "13px system-ui, sans-serif";
    c.textBaseline = "middle";
    for (let index = first; index < last; index += 1) {
      const y = index * ROW - scroller.scrollTop, row = rowAt(index);
      if (!row) { load(Math.floor(index / PAGE)); continue; }
      if (index === at || row.episode === chosen?.episode) { c.fillStyle = css("--soft"); c.fillRect(0, y, width, ROW); }
      if (index === at) { c.strokeStyle = css("--accent"); c.lineWidth = 2; c.strokeRect(1, y + 1, width - 2, ROW - 2); }
      const mode = studio.mode(row.mode);
      c.fillStyle = css("--muted");
      c.textAlign = "right"; c.fillText(row.episode, 38, y + ROW / 2); c.textAlign = "left";
      if (mode) { c.fillStyle = fill(c, mode); c.fillRect(46, y + 7, 16, ROW - 14); framed(c, 46, y + 7, 16, ROW - 14); }
      c.fillStyle = css("--ink");
      c.fillText(clipped(c, `${mode?.name ?? ""}${row.note ? " ✎" : ""}`, name - 28), 68, y + ROW / 2);
      c.textAlign = "right";
      shown.forEach(([, numberOf], i) => { c.fillText(numberOf(row), 44 + name + 62 * (i + 1) - 12, y + ROW / 2); c.fillStyle = css("--muted"); });
      c.textAlign = "left";
      let x = 0;
      for (const [index_, steps] of row.stretches) {
        const part = studio.mode(index_);
        if (part) { c.fillStyle = fill(c, part); c.fillRect(left + (x / longest) * wide, y + 5, Math.max((steps / longest) * wide, 1), ROW - 10); }
        x += steps;
      }
      framed(c, left, y + 5, (x / longest) * wide, ROW - 10);
    }
  }

  function clipped(c, text, room) {
    if (c.measureText(text).width <= room) return text;
    let short = text;
    while (short && c.measureText(`${short}…`).width > room) short = short.slice(0, -1);
    return `${short}…`;
  }

  function choose(index) {
    if (!n) return;
    at = Math.max(0, Math.min(n - 1, index));
    const top = at * ROW, seen = scroller.clientHeight;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    if (top + ROW > scroller.scrollTop + seen) scroller.scrollTop = top + ROW - seen;
    say_where();
    draw();
  }

  function buildChips() {
    rebuilt(chips, ...studio.modes.map((mode) => {
      const pick = element("button", { type: "button", "aria-pressed": String(filter === mode.mode), title: `Only ${mode.name}`, on: { click: () => { filter = filter === mode.mode ? null : mode.mode; buildChips(); renew(); } } }, chip(mode));
      const pen = element("button", { type: "button", className: "pen", ariaLabel: `Name, merge or note ${mode.name}`, title: "Name, merge, note", on: { click: () => studio.edit(mode) } }, "✎");
      return element("span", { className: "group" }, pick, pen);
    }));
  }

  let frame = 0;
  scroller.addEventListener("scroll", () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(draw); });
  scroller.addEventListener("click", (event) => {
    const index = Math.floor((event.clientY - scroller.getBoundingClientRect().top + scroller.scrollTop) / ROW);
    if (index < n) { choose(index); if (rowAt(index)) play(rowAt(index).episode); }
  });
  scroller.addEventListener("keydown", (event) => {
    const rows = Math.floor(scroller.clientHeight / ROW) - 1;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: rows, PageUp: -rows, Home: -n, End: n }[event.key];
    if (step !== undefined) choose(at + step);
    else if (event.key === "Enter" && rowAt(at)) play(rowAt(at).episode);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  order.addEventListener("change", renew);
  turn.addEventListener("click", () => { turn.setAttribute("aria-pressed", turn.getAttribute("aria-pressed") !== "true"); renew(); });

  // The player

  let player = null, wanted = null;
  async function play(episode) {
    wanted = episode;
    try {
      const found = await get("/api/episode", { episode });
      if (wanted !== episode) return; // another was chosen meanwhile
      chosen = found;
      player?.stop();
      player = makePlayer(side, studio, chosen, async (text) => {
        try {
          const answer = await post("/api/edits", { kind: "note_episode", about: episode, text });
          await studio.said(answer);
          say(answer.changed ? "Saved with the run." : "Nothing was changed.");
        } catch (error) { say(error.message, true); }
      });
      draw();
    } catch (error) { say(error.message, true); }
  }

  return {
    play,
    changed() {
      if (grouping !== String(studio.leads)) { // the order is another, and a mode that was looked at alone may be part of one now
        grouping = String(studio.leads);
        at = -1;
        if (filter !== null) filter = studio.leads[filter];
      }
      buildChips(); asked += 1; pages.clear(); load(0); if (chosen) get("/api/episode", { episode: chosen.episode }).then((row) => { if (row.episode === chosen.episode) player?.renamed(row); }).catch(() => {});
    },
    shown() { draw(); },
    left() { player?.pause(); },
    redraw() { draw(); player?.redraw(); },
    columns() { player?.columns(); },
    key(event) { if (event.key === " " && player) { player.toggle(); return true; } return false; },
  };
}

function makePlayer(side, studio, episode, onNote) {
  const above = episode.from_above, n = above ? above.frames.length : 0;
  const sight = above && sightOf(above.layout, above.frames.map((scene) => scene.robot));
  let step = 0, playing = true, due = 0, handle = 0, series = [];
  const title = element("h2", {});
  const stage = element("canvas", { className: "stage", role: "img", ariaLabel: `Episode ${episode.episode} from above` });
  const key = element("div", { hidden: true });
  const plots = element("canvas", { className: "plots", role: "img", ariaLabel: "Chosen columns over time" });
  const strip = element("canvas", { className: "strip", role: "img", ariaLabel: "Modes over time" });
  const button = element("button", { type: "button", className: "primary", on: { click: () => toggle() } });
  const bar = element("input", { type: "range", min: 0, max: 1000, value: 0, ariaLabel: "Place in the episode" });
  const clock = element("span", { className: "small number" });
  const speed = element("select", { ariaLabel: "Speed" }, ...[0.5, 1, 2, 4, 8].map((s) => element("option", { value: s, selected: s === 2 }, `${s} x`)));
  const pick = foldedPicker(studio.columns);
  const note = element("textarea", { className: "wide", id: "episode-note", maxLength: 2000, value: episode.note, ariaLabel: "Note on this episode" });
  const facts = element("div", { className: "facts small" });
  const span = element("select", { id: "span", ariaLabel: "Steps drawn" }, element("option", { value: 0 }, "the whole episode"), ...[50, 200].filter((n) => n < episode.steps).map((n) => element("option", { value: n, selected: n === 200 && episode.steps > 400 }, `${n} steps around the place`)));
  const drawer = element("details", { open: !above }, element("summary", {}, "Plots of columns"), plots, element("div", { className: "row gap" }, element("label", {}, "Draw ", span)), pick);
  side.replaceChildren(title, facts, ...(above ? [stage, key] : []), strip, element("div", { className: "row gap" }, button, element("label", {}, "Speed ", speed), clock), bar, drawer,
    element("h3", {}, "Note"), note, element("button", { type: "button", id: "episode-note-save", on: { click: () => onNote(note.value) } }, "Save note"));

  function head() {
    const mode = studio.mode(episode.mode);
    title.replaceChildren(`Episode ${episode.episode} `, mode ? chip(mode) : "");
    const told = [["certainty", percent(episode.certainty, 1)], ["steps", episode.steps], ["oddness", episode.oddness]];
    if (episode.return !== null) told.push(["return", episode.return.toFixed(2)]);
    if (episode.cost !== null) told.push(["cost", episode.cost.toFixed(0)]);
    facts.replaceChildren(...told.map(([name, value]) => element("span", {}, `${name} `, element("b", {}, value))));
    button.textContent = playing ? "Pause" : "Play";
    const parts = studio.modes.filter((part) => episode.stretches.some(([index]) => index === part.mode));
    key.hidden = parts.length < 2;
    key.replaceChildren(pathKey(parts));
  }

  const share = () => Number(bar.value) / 1000;
  function modeAt(frame) {
    let left = frame * (above?.every ?? 1);
    for (const [mode, steps] of episode.stretches) { if (left < steps) return mode; left -= steps; }
    return episode.stretches.at(-1)?.[0] ?? null;
  }
  let trail = [];
  function remember() { trail = above ? above.frames.map((scene, i) => [scene.robot[0], scene.robot[1], modeAt(Math.max(i - 1, 0))]) : []; }

  function draw() {
    if (above) drawScene(stage, above.layout, above.frames[step], trail.slice(0, step + 1), (mode) => studio.mode(mode), sight);
    if (drawer.open) drawColumns();
    const { context: c, width, height } = sharp(strip);
    let x = 0;
    for (const [index, steps] of episode.stretches) {
      const mode = studio.mode(index);
      if (mode) { c.fillStyle = fill(c, mode); c.fillRect((x / episode.steps) * width, 6, (steps / episode.steps) * width + 0.5, height - 12); }
      x += steps;
    }
    framed(c, 0, 6, width, height - 12);
    c.fillStyle = css("--ink");
    c.fillRect(share() * width - 1.5, 0, 3, height);
    const now = Math.round(share() * episode.steps);
    clock.textContent = `step ${now} of ${episode.steps}${above ? `, ${(now / above.steps_per_s).toFixed(1)} s` : ""}`;
  }

  // The whole episode, or the stretch around the place: a gait of a thousand steps is no line otherwise.
  function drawColumns() {
    const rows = series[0]?.values.length ?? 0, wanted = Math.min(rows, Math.ceil((Number(span.value) * rows) / episode.steps) || rows);
    const at = share() * (rows - 1), first = Math.round(Math.max(0, Math.min(rows - wanted, at - wanted / 2)));
    const step = (row) => Math.round((row / Math.max(rows - 1, 1)) * episode.steps);
    drawPlots(plots, series.map((one) => ({ ...one, values: one.values.slice(first, first + wanted) })), [step(first), step(first + wanted - 1)], (at - first) / Math.max(wanted - 1, 1));
  }

  async function columns() {
    await studio.columns.load();
    const wanted = studio.columns.drawn();
    pick.show();
    try {
      const found = await get("/api/columns", { episode: episode.episode, column: wanted });
      series = wanted.map((column, i) => ({ name: studio.columns.names[column], values: found.columns[i], limits: limitsOf(found.columns[i].map((value) => [value]))?.[0] }));
      plots.style.height = `${Math.max(wanted.length * 66, 100) + 18}px`;
      draw();
    } catch (error) { say(error.message, true); }
  }

  function tick(now) {
    handle = requestAnimationFrame(tick);
    if (!playing || side.closest("section").hidden) return;
    const rate = ((above?.steps_per_s ?? 50) / (above?.every ?? 1)) * Number(speed.value);
    if (!due) due = now;
    if (now - due > 1000) due = now - 1000 / 60; // nobody saw what a tab that slept would have played
    const go = Math.floor(((now - due) / 1000) * rate);
    if (!go) return;
    due = now;
    const total = above ? n - 1 : episode.steps;
    const place = Math.min(total, Math.round(share() * total) + go);
    step = above ? place : 0;
    bar.value = (1000 * place) / Math.max(total, 1);
    if (above) step = Math.min(n - 1, place);
    if (place >= total) { playing = false; head(); }
    draw();
  }

  function toggle() {
    if (!playing && share() >= 1) { bar.value = 0; step = 0; }
    playing = !playing;
    due = 0;
    head();
  }

  bar.step = "any";
  bar.addEventListener("input", () => { step = above ? Math.round(share() * (n - 1)) : 0; due = 0; draw(); });
  span.addEventListener("change", draw);
  drawer.addEventListener("toggle", () => { if (drawer.open && !series.length) columns(); else draw(); });
  if (drawer.open) columns();
  head();
  remember();
  draw();
  handle = requestAnimationFrame(tick);
  return {
    toggle,
    pause() { if (playing) toggle(); },
    stop() { cancelAnimationFrame(handle); },
    redraw: draw,
    columns() { series = []; if (drawer.open) columns(); },
    renamed(row) {
      if (note.value.trim() === episode.note) note.value = row.note; // what was not saved yet stays
      episode = { ...row, from_above: above }; head(); remember(); draw();
    },
  };
}
