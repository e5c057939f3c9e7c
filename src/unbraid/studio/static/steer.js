// Live agents: the server steps them; the page asks, and draws what comes.

import { GONE, blob, copy, say } from "./api.js";
import { foldedPicker, rowOf, seriesOf } from "./columns.js";
import { css, element, fill, framed, meter, pathKey, percent, sharp, swatch } from "./marks.js";
import { drawPlots, drawScene, limitsOf, sightOf } from "./scene.js";

const HISTORY = 300, LARGEST_SEED = 2147483647;
const SHUT_DOWN = [1001, 1006, 1012]; // how a socket closes whose server ends, or is gone

export function steerView(panel, studio) {
  const { about } = studio;
  if (!about.env_ids.length) {
    panel.append(element("p", { className: "empty" }, "No environment is known that fits the model. Start again with --env ID."));
    return {};
  }
  let socket = null, session = null, started = null, playing = false, agents = [], queue = [], grouping = null, good = 0, gone = false; // good: the seed; gone: the server was

  const env = element("select", { id: "env", ariaLabel: "Environment" }, ...about.env_ids.map((id) => element("option", { value: id }, id)));
  const seed = element("input", { type: "number", id: "seed", min: 0, max: LARGEST_SEED, step: 1, value: 0, ariaLabel: "Seed" });
  const play = element("button", { type: "button", className: "primary", id: "play", on: { click: () => toggle() } }, "Play");
  const speed = element("select", { id: "speed", ariaLabel: "Steps a picture" }, ...[1, 2, 4, 8].map((s) => element("option", { value: s }, `${s} step${s > 1 ? "s" : ""} a picture`)));
  const pair = element("input", { type: "checkbox", id: "pair" });
  const sampled = element("input", { type: "checkbox", id: "sampled", checked: true });
  const status = element("p", { className: "small muted", id: "live-status", role: "status" }, "Not started.");
  const place = element("div", { className: "agents", id: "agents" }), pick = foldedPicker(studio.columns, studio.columns.nLive);
  pick.hidden = true;
  panel.append(element("div", { className: "card" },
    element("div", { className: "row" }, env, play,
      element("button", { type: "button", id: "step", title: "One step (.)", on: { click: () => tell({ do: "step" }) } }, "Step"),
      element("button", { type: "button", id: "reset", title: "Same seed again (R)", on: { click: () => reset(good) } }, "Reset"),
      element("button", { type: "button", id: "new-seed", title: "Another seed (N)", on: { click: () => reset(Math.floor(Math.random() * 1e6)) } }, "New seed"),
      element("label", {}, "Seed ", seed), speed,
      element("label", { title: "Two agents on the same layout" }, pair, "Side by side"),
      element("label", { title: "Draw actions, or take their mean" }, sampled, "Sampled actions")),
    status, element("p", { className: "small muted keys" }, "Keys: ", element("kbd", {}, "Space"), " play, ", element("kbd", {}, "."), " step, ", element("kbd", {}, "R"), " reset, ", element("kbd", {}, "N"), " new seed. A double click on a slider sets it to 0."), pick), element("div", { className: "gap" }, place));

  // Talking to the server

  function open() {
    if (socket && socket.readyState <= 1) return;
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
    socket.addEventListener("open", () => { gone = false; start(); for (const message of queue.splice(0)) socket.send(JSON.stringify(message)); });
    socket.addEventListener("message", (event) => hear(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => { setPlaying(false); session = null; gone = !event.reason && SHUT_DOWN.includes(event.code); status.textContent = event.reason || (gone ? GONE : "The session ended. Press play to go on."); });
  }

  function tell(message) {
    if (socket?.readyState === 1) { socket.send(JSON.stringify(message)); return; }
    if (message.do !== "start") queue.push(message);
    open();
  }

  function start() {
    const before = agents.map((agent) => agent.wanted());
    socket.send(JSON.stringify({ do: "start", env: env.value, agents: pair.checked ? 2 : 1, seed: good }));
    build(before);
    if (!sampled.checked) socket.send(JSON.stringify({ do: "sample", sampled: false }));
    agents.forEach((agent) => agent.steer());
  }

  function hear(message) {
    if (message.session) session = message.session;
    if (message.error) { say(message.error, true); studio.catchUp(); } // modes may have been merged elsewhere
    if (message.started) { started = message.started; seed.value = good = started.seed; pick.hidden = Boolean(started.layout); agents.forEach((agent) => agent.cleared()); }
    if (message.asked) agents[message.asked.agent]?.asked(message.asked);
    if (message.agents && started) {
      setPlaying(message.playing);
      message.agents.forEach((told, i) => agents[i]?.heard(told));
      agents.forEach((agent) => agent.redraw()); // when all know where they are, as they share a scale
      const over = message.agents.every((told) => told.over);
      status.textContent = `Seed ${started.seed}, step ${message.agents[0].step} (${(message.agents[0].step / started.steps_per_s).toFixed(1)} s)${over ? ": the episode is over. Reset to go on." : ""}`;
    }
  }

  function setPlaying(now) { playing = now; play.textContent = now ? "Pause" : "Play"; }

  function toggle() {
    if (playing) tell({ do: "pause" }); else tell({ do: "play", steps_per_picture: Number(speed.value) });
  }

  function reset(next) {
    seed.value = good = next;
    tell({ do: "reset", seed: next });
  }

  // What is no seed is said, and the last one stays.
  function heed() {
    const given = seed.value.trim() === "" ? NaN : Number(seed.value);
    if (Number.isInteger(given) && given >= 0 && given <= LARGEST_SEED) { reset(given); return; }
    say(`A seed must be a whole number from 0 to ${LARGEST_SEED.toLocaleString("en")}; it stays ${good}.`, true);
    seed.value = good;
  }

  env.addEventListener("change", () => { if (socket?.readyState === 1) start(); else open(); });
  pair.addEventListener("change", () => { if (socket?.readyState === 1) start(); else open(); });
  speed.addEventListener("change", () => { if (playing) tell({ do: "play", steps_per_picture: Number(speed.value) }); });
  sampled.addEventListener("change", () => tell({ do: "sample", sampled: sampled.checked }));
  seed.addEventListener("change", heed);

  // One agent

  function build(before = []) {
    grouping = String(studio.leads);
    agents = Array.from({ length: pair.checked ? 2 : 1 }, (_, i) => makeAgent(i, before[i]));
    place.className = `agents${pair.checked ? " pair" : ""}`;
    place.replaceChildren(...agents.map((agent) => agent.root));
    agents.forEach((agent) => agent.redraw());
  }

  function makeAgent(index, before) {
    const { modes } = studio, most = about.strongest;
    const stage = element("canvas", { className: "stage", role: "img", ariaLabel: `Agent ${index + 1} from above` });
    const strip = element("canvas", { className: "strip", role: "img", ariaLabel: "Posterior over modes, the last ten seconds" });
    const key = element("div"), facts = element("div", { className: "facts small" }), words = element("p", { className: "small", ariaLive: "polite" });
    let scene = null, trail = [], history = [], last = null, told = null, due = 0, seen = [], taken = [];
    const sliders = modes.map((mode) => {
      const start = before && before.sliders.length === modes.length ? before.sliders[modes.indexOf(mode)] : Number(mode === modes[Math.min(index, modes.length - 1)]);
      const input = element("input", { type: "range", min: -most, max: most, step: 0.1, value: start });
      const output = element("output", {}, start.toFixed(1));
      const read = about.can_observe ? meter(mode, "as re-encoded") : null;
      const share = element("span", { className: "small number" }), name = element("span", {});
      input.addEventListener("input", () => { output.textContent = Number(input.value).toFixed(1); steer(); });
      input.addEventListener("dblclick", () => { input.value = 0; output.textContent = "0.0"; steer(); });
      const root = element("div", { className: "slider" }, element("span", { className: "chip" }, swatch(mode), name), input, output,
        element("span", { className: "ends" }, element("span", {}, "away"), element("span", {}, "0"), element("span", {}, "towards")),
        ...(read ? [element("span", { className: "label" }, "re-encoded as"), read, share] : []));
      return { mode, input, output, read, share, name, root };
    });
    const style = about.has_style ? element("input", { type: "range", min: 0, max: 1, step: 0.01, value: before?.style ?? 0.5, ariaLabel: "Style" }) : null;
    style?.addEventListener("input", () => steer());

    function wanted() { return { sliders: sliders.map(({ input }) => Number(input.value)), style: style ? Number(style.value) : null }; }
    function steer() { // at most 40 a second: a slider that is dragged says more than anybody needs
      const now = performance.now();
      clearTimeout(due);
      const go = () => { last = performance.now(); tell({ do: "steer", agent: index, ...wanted() }); };
      if (last !== null && now - last < 25) due = setTimeout(go, 25); else go();
    }
    function preset(values) { sliders.forEach((s, i) => { s.input.value = values[i]; s.output.textContent = Number(values[i]).toFixed(1); }); steer(); }
    const presets = element("div", { className: "row presets" });
    function label() { // by the names of now: a mode may be renamed while the agent acts
      for (const s of sliders) {
        s.mode = studio.mode(s.mode.mode);
        s.name.textContent = s.name.title = s.mode.name;
        s.input.ariaLabel = `${s.mode.name}: from away to towards`;
        if (s.read) s.read.ariaLabel = `${s.mode.name}, as re-encoded`;
      }
      key.replaceChildren(pathKey(sliders.map((s) => s.mode)));
      const alone = (index, value) => sliders.map((_, i) => (i === index ? value : 0));
      presets.replaceChildren(...[
        ...sliders.map((s, i) => [`Only ${s.mode.name}`, alone(i, 1)]),
        ["Blend", sliders.map(() => 0.5)], ["Average", sliders.map(() => 0)],
        ...sliders.map((s, i) => [`Away from ${s.mode.name}`, alone(i, -1)]),
      ].map(([name, values]) => element("button", { type: "button", className: "small", on: { click: () => preset(values) } }, name)));
    }
    label();
    async function record(event) {
      const button = event.target;
      button.disabled = true; button.textContent = "Recording…";
      try {
        const film = await blob("/api/film", { session: session ?? "", agent: index });
        const link = element("a", { href: URL.createObjectURL(film), download: `${started.env.split("/").pop()}-seed${started.seed}-agent${index + 1}.mp4` });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
        say("The film is saved.");
      } catch (error) { say(error.message, true); }
      button.disabled = false; button.textContent = "Record video";
    }
    const root = element("div", { className: pair.checked ? "card agent" : "card agent two" },
      element("div", { className: "stagebox" }, stage, key, facts),
      element("div", {}, element("h2", {}, pair.checked ? `Agent ${index + 1}` : "Ask for"), ...sliders.map((s) => s.root),
        style ? element("label", {}, "Style", style) : null,
        element("h3", {}, "Presets"), presets,
        ...(about.can_observe ? [element("h3", {}, "What it does, re-encoded"), strip, element("p", { className: "small muted" }, "Time to the right: the last 300 pictures, ten seconds of play.")] : [element("p", { className: "small muted" }, "A model of the talk's method cannot re-encode an agent while it runs.")]),
        element("h3", {}, "Asked"), words,
        element("div", { className: "row" },
          element("button", { type: "button", className: "copy-json", on: { click: () => told && copy(JSON.stringify({ instruction: told.instruction, context: told.context, style: told.style }, null, 1), "The instruction") } }, "Copy JSON"),
          element("button", { type: "button", className: "copy-python", on: { click: () => told && copy(`from unbraid import ModeModel, steer\n\n${told.python}`, "The Python") } }, "Copy Python"),
          element("button", { type: "button", className: "record", disabled: !about.can_film, title: about.can_film ? "Since the reset, as an MP4" : "Needs pip install 'unbraid[video]'", on: { click: record } }, "Record video"))));

    function showShares() {
      const posterior = history.at(-1);
      for (const s of sliders) {
        const share = posterior ? s.mode.modes.reduce((sum, k) => sum + posterior[k], 0) : 0;
        s.read.show(share);
        s.share.textContent = posterior ? percent(share) : "";
      }
    }

    function redraw() {
      key.hidden = !about.can_observe || !started?.layout;
      if (scene && started?.layout) drawScene(stage, started.layout, scene, trail, (mode) => studio.mode(studio.leads[mode] ?? -1), sightOf(started.layout, agents.map((agent) => agent.place()).filter(Boolean)));
      else if (seen.length) {
        const limits = limitsOf(...agents.map((agent) => agent.seen()));
        drawPlots(stage, seriesOf(studio.columns, seen, limits), [taken[0], taken.at(-1)]);
      }
      if (!about.can_observe) return;
      showShares();
      const { context: c, width, height } = sharp(strip);
      history.forEach((posterior, i) => {
        let y = 0;
        for (const { mode } of sliders) {
          const share = mode.modes.reduce((sum, k) => sum + posterior[k], 0);
          c.fillStyle = fill(c, mode);
          c.fillRect((i / HISTORY) * width, y, width / HISTORY + 0.7, share * height);
          y += share * height;
        }
      });
      framed(c, 0, 0, (history.length / HISTORY) * width, height);
      c.fillStyle = css("--ink");
      c.fillRect((history.length / HISTORY) * width, 0, 2, height);
    }

    return {
      root, wanted, steer, redraw,
      place: () => scene?.robot ?? null,
      seen: () => seen,
      renamed() { label(); if (started && socket?.readyState === 1) steer(); }, // whose answer says it in the new words
      cleared() { trail = []; history = []; seen = []; taken = []; scene = null; stage.ariaLabel = `Agent ${index + 1}, ${started.layout ? "from above" : "columns over time"}`; redraw(); },
      asked(answer) { told = answer; words.replaceChildren(element("span", {}, answer.words), " ", element("code", {}, answer.python)); },
      heard(now) {
        const { posterior } = now;
        if (posterior) {
          history.push(posterior);
          if (history.length > HISTORY) history.shift();
        }
        if (now.scene) { scene = now.scene; trail.push([scene.robot[0], scene.robot[1], posterior ? posterior.indexOf(Math.max(...posterior)) : null]); if (trail.length > 4000) trail.shift(); }
        if (now.observation) { seen.push(rowOf(now)); taken.push(now.step); if (seen.length > HISTORY) { seen.shift(); taken.shift(); } }
        facts.replaceChildren(...[["return", now.return.toFixed(2)], ["cost", now.cost?.toFixed(0)], ["goals", now.goals]].filter(([, value]) => value !== undefined && value !== null).map(([name, value]) => element("span", {}, `${name} `, element("b", {}, value))));
      },
    };
  }

  return {
    changed() {
      if (grouping === String(studio.leads)) agents.forEach((agent) => agent.renamed());
      else if (socket?.readyState === 1) start(); else build(agents.map((agent) => agent.wanted()));
    },
    shown() { if (!socket || gone) open(); else agents.forEach((agent) => agent.redraw()); },
    left() { if (playing) tell({ do: "pause" }); },
    redraw() { agents.forEach((agent) => agent.redraw()); },
    columns() { pick.show(); agents.forEach((agent) => agent.redraw()); },
    key(event) {
      const key = event.key.toLowerCase();
      if (key === " ") toggle();
      else if (key === ".") tell({ do: "step" });
      else if (key === "r") reset(good);
      else if (key === "n") reset(Math.floor(Math.random() * 1e6));
      else return false;
      return true;
    },
  };
}
