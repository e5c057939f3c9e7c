// Two short clips from the same start, and a click: what is learned is a preference over modes, by situation.

import { copy, get, post, say } from "./api.js";
import { foldedPicker, rowOf, seriesOf } from "./columns.js";
import { chip, element, meter, percent } from "./marks.js";
import { drawPlots, drawScene, limitsOf, sightOf } from "./scene.js";

const ANSWERS = [["left", "Left", "ArrowLeft", "←"], ["both fine", "Both fine", "ArrowUp", "↑"], ["neither", "Neither", "ArrowDown", "↓"], ["right", "Right", "ArrowRight", "→"]];
const SIDES = ["left", "right"];

// The first few by name: a situation of others' worlds is read as all columns.
function namesOf(features) {
  const told = features.slice(0, 6).map((name) => name.replaceAll("_", " ")).join(", "), more = features.length - 6;
  return more > 0 ? `${told} and ${more} more` : told;
}

export function teachView(panel, studio) {
  if (!studio.about.env_ids.length) {
    panel.append(element("p", { className: "empty" }, "Teaching needs an environment to make clips in. Start again with --env ID."));
    return {};
  }
  const stages = SIDES.map((side) => element("canvas", { className: "stage", role: "img", ariaLabel: `The ${side} clip, from above` }));
  const buttons = ANSWERS.map(([answer, title, , arrow]) => element("button", { type: "button", disabled: true, on: { click: () => say_answer(answer) } }, `${title} `, element("kbd", {}, arrow)));
  buttons.forEach((button, i) => { button.dataset.answer = ANSWERS[i][0]; });
  const undo = element("button", { type: "button", id: "teach-undo", on: { click: forget } }, "Take the last answer back");
  const pause = element("button", { type: "button", id: "teach-pause", on: { click: () => setMoving(!moving) } });
  const blends = element("input", { type: "checkbox", id: "blends" });
  const names = SIDES.map(() => element("figcaption", { className: "small muted" }));
  const clips = element("div", { className: "clips" }, ...stages.map((stage, side) => element("figure", {}, stage, names[side])));
  const told = element("p", { className: "small muted", id: "taught", role: "status" }, "Making two clips…");
  const last = element("p", { className: "small", id: "last-pair", role: "status" });
  const learned = element("div", { id: "learned" }), pick = foldedPicker(studio.columns, studio.columns.nLive);
  pick.hidden = true;
  const alone = element("p", { className: "empty", hidden: true }), whole = element("div", { className: "two" },
    element("div", { className: "card" }, element("h2", {}, "Which one do you want to see here?"), clips, element("div", { className: "answers" }, ...buttons), element("div", { className: "row gap" }, undo, pause, element("button", { type: "button", on: { click: () => { begun = 0; setMoving(true); } } }, "Play again"), element("label", { title: "Clips of what lies half-way between two modes are offered, too" }, blends, "Blends, too")), last, told, pick),
    element("div", { className: "card" }, element("h2", {}, "What your answers say"), learned));
  panel.append(alone, whole);
  let clip = null, frame = 0, begun = 0, handle = 0, moving = true, busy = false, asked = 0, waiting = false, known = null, bars = [], grouping = "";

  function draw() {
    if (!clip) return;
    const count = clip.frames.length;
    stages.forEach((stage, side) => {
      const now = clip.frames[frame][side];
      if (now.scene) drawScene(stage, clip.layout, now.scene, clip.frames.slice(0, frame + 1).map((agents) => [agents[side].scene.robot[0], agents[side].scene.robot[1], null]), undefined, clip.sight);
      else drawPlots(stage, seriesOf(studio.columns, clip.rows[side], clip.limits), [0, count - 1], frame / (count - 1));
      names[side].textContent = `${SIDES[side]}${now.over ? ", its episode is over" : ""}`;
    });
  }

  // Whether the clips play, over and over; one that goes on does so from where it stood.
  function setMoving(now) {
    if (now && !moving && begun && clip) begun = performance.now() - (frame / clip.steps_per_s) * 1000;
    moving = now;
    pause.textContent = moving ? "Pause" : "Play";
  }
  setMoving(!matchMedia("(prefers-reduced-motion: reduce)").matches); // then nothing moves that nobody started

  function tick(now) {
    handle = requestAnimationFrame(tick);
    if (!clip || !moving) return;
    if (!begun) begun = now;
    const pause = 25, total = clip.frames.length + pause;
    const next = Math.min(Math.floor(((now - begun) / 1000) * clip.steps_per_s) % total, clip.frames.length - 1);
    if (next !== frame) { frame = next; draw(); }
  }

  async function ask() {
    const mine = asked += 1; // a pair that another one was asked for meanwhile is not shown
    waiting = true;
    try {
      const found = await post(`/api/teach/pair?blends=${blends.checked}`);
      if (mine !== asked) return;
      clip = found;
      begun = 0;
      frame = moving ? 0 : clip.frames.length - 1; // where they stand still, whole paths are seen
      if (clip.layout) clip.sight = sightOf(clip.layout, ...clip.frames.map((agents) => agents.map((agent) => agent.scene.robot)));
      else {
        clip.rows = [0, 1].map((side) => clip.frames.map((agents) => rowOf(agents[side])));
        clip.limits = limitsOf(...clip.rows);
      }
      pick.hidden = Boolean(clip.layout);
      clips.classList.toggle("plotted", !clip.layout);
      stages.forEach((stage, side) => { stage.ariaLabel = `The ${SIDES[side]} clip, ${clip.layout ? "from above" : "columns over time"}`; });
      buttons.forEach((button) => { button.disabled = false; });
      told.textContent = `Pair ${clip.number + 1}: the one from which there is most to learn (${clip.information_nats.toFixed(2)} nats). Both start alike.`;
      draw();
      show(await get("/api/teach"));
    } catch (error) { if (mine === asked) told.textContent = error.message; }
    if (mine === asked) waiting = false;
  }

  // Which mode is which is told after the answer, so that the clips are judged by what is seen.
  function nameOf(weights) {
    return studio.modes.map((mode, i) => [mode.name, weights[i]]).filter(([, weight]) => weight > 0).map(([name, weight]) => (weight === 1 ? name : `${percent(weight)} ${name}`)).join(" + ");
  }

  async function say_answer(answer) {
    if (busy || !clip) return;
    busy = true;
    const had = buttons.find((button) => button === document.activeElement);
    buttons.forEach((button) => { button.disabled = true; });
    const were = clip.clips.map(nameOf);
    try { await post("/api/teach/answer", { pair: clip.pair, answer }); last.textContent = `Last pair: left was ${were[0]}, right was ${were[1]}.`; clip = null; await ask(); } catch (error) { say(error.message, true); clip = null; await ask(); }
    busy = false;
    if (had && document.activeElement === document.body) had.focus(); // it gave the focus up while it could not be used
  }

  async function forget() {
    if (busy) return;
    if (known && !known.n_answers) { say("There is no answer to take back."); return; }
    busy = true;
    try { show(await post("/api/teach/undo")); last.textContent = ""; await ask(); say("The last answer is forgotten."); } catch (error) { say(error.message, true); }
    busy = false;
  }

  function show(answer) {
    known = answer;
    bars = [];
    undo.disabled = !answer.n_answers;
    blends.parentElement.hidden = studio.modes.length < 2;
    const rows = (answer.modes ?? []).map((entry) => {
      const mode = studio.mode(entry.mode);
      if (!mode) return "";
      const bar = meter(mode, "how probable it is the best");
      const row = element("div", { className: "slider" }, chip(mode), bar, element("span", { className: "number small" }, percent(entry.probability_best)),
        element("span", { className: "ends" }, `utility ${entry.utility.toFixed(2)} ± ${entry.deviation.toFixed(2)}`));
      bars.push(bar);
      requestAnimationFrame(() => bar.show(entry.probability_best));
      return row;
    });
    learned.replaceChildren(element("p", { id: "n-answers" }, `${answer.n_answers} answer${answer.n_answers === 1 ? "" : "s"}, saved with the run as preferences.json.`),
      element("p", { className: "small muted" }, "How probable it is of each mode that you like it best, over the situations at hand; its utility, with its standard deviation after ±, is in logits, and 0 is just acceptable."), ...rows,
      element("p", { className: "small muted" }, `A situation is read as: ${namesOf(answer.features.slice(1))}.`),
      answer.n_answers ? element("div", {}, element("h3", {}, "Make a switcher of them"), element("code", { id: "teach-command", className: "block" }, answer.command),
        element("button", { type: "button", className: "gap", on: { click: () => copy(answer.command, "The command") } }, "Copy the command")) : "");
  }

  blends.addEventListener("change", () => { if (!busy) { clip = null; ask(); } });
  // Whether there are two modes to choose between; where not, why is said.
  function canAsk() {
    const can = studio.modes.length > 1;
    whole.hidden = !can;
    alone.hidden = can;
    alone.textContent = studio.modes[0]?.modes.length > 1 ? "Teaching needs at least two modes that are shown apart; all are merged into one. Split one off." : "Teaching needs at least two modes; this model has one.";
    return can;
  }

  return {
    shown() { cancelAnimationFrame(handle); if (!canAsk()) return; handle = requestAnimationFrame(tick); if (!clip && !busy && !waiting) ask(); else draw(); },
    left() { cancelAnimationFrame(handle); },
    changed() {
      if (grouping !== String(studio.leads)) { clip = null; waiting = false; } // other modes, other clips
      else if (known) show(known);
      grouping = String(studio.leads);
    },
    get undo() { return studio.modes.length > 1 ? forget : null; }, // what was said last here is an answer, not a name
    get redo() { return studio.modes.length > 1 ? () => say("An answer that was taken back cannot be given again: answer the pair anew.") : null; },
    columns() { pick.show(); draw(); },
    redraw() { draw(); bars.forEach((bar) => bar.show()); },
    key(event) {
      if (studio.modes.length < 2) return false;
      if (event.key === " ") { setMoving(!moving); return true; }
      const found = ANSWERS.find(([, , key]) => key === event.key);
      if (!found || !clip) return false;
      if (!event.repeat) say_answer(found[0]);
      return true;
    },
  };
}
