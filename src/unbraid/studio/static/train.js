// A fit as it goes: pictures of its modes, loss terms, usage of codes; asked for again every second while looked at.

import { get, say } from "./api.js";
import { DASHES, chip, css, dashOf, edged, element, percent, sharp, stroke } from "./marks.js";
import { drawScene, sightOf } from "./scene.js";

const COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
// What each term of a loss is, and its unit.
const TERMS = {
  policy: "minus the log-likelihood of what was done, in nats a step (or what the policy learns by in its place)",
  encoder: "cross-entropy of the mode that a window is read as, in nats a window",
  commitment: "squared distance of what is encoded from its code",
  style: "divergence of styles from their prior, in nats a window",
  reconstruction: "squared error of transitions that are decoded, in scaled units",
  codebook: "squared distance of codes from what is encoded",
};

// Round places on an axis, 1, 2 or 5 times a power of ten apart, that enclose all that is drawn.
export function ticksOf(low, high) {
  const apart = (high - low || Math.abs(high) || 1) / 5, power = 10 ** Math.floor(Math.log10(apart));
  const each = [1, 2, 5, 10].map((times) => times * power).find((step) => step >= apart * (1 - 1e-9));
  const first = Math.floor(low / each + 1e-9), last = Math.max(Math.ceil(high / each - 1e-9), first + 1);
  const digits = Math.max(0, Math.min(100, -Math.floor(Math.log10(each) + 1e-9)));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * each).toFixed(digits)));
}

export function trainView(panel, studio) {
  const log = element("select", { id: "log", ariaLabel: "Method" });
  const logged = element("div", { className: "row", hidden: true }, element("label", {}, "Log of ", log));
  const facts = element("p", { className: "small muted", id: "fit-facts", role: "status" });
  const done = element("p", { className: "remark", hidden: true }, "The model is there. ", element("button", { type: "button", on: { click: () => studio.open(studio.about.has_demos ? "demos" : "steer") } }, "Open it"));
  const waited = !studio.about.has_model;
  const loss = element("canvas", { className: "chart", role: "img", ariaLabel: "Loss terms by gradient step" });
  const usage = element("canvas", { className: "chart", role: "img", ariaLabel: "Usage of codes by gradient step" });
  const key = element("div", { className: "chips small" }), codes = element("div", { className: "chips small" });
  const terms = element("p", { className: "small muted", id: "terms" });
  const when = element("input", { type: "range", id: "picture-step", min: 0, max: 0, value: 0, ariaLabel: "Gradient step of the pictures" });
  const whenTold = element("output", { className: "small" }), grown = element("div", { className: "cards", id: "pictures" });
  const pictured = element("div", { className: "card gap", hidden: true },
    element("div", { className: "row" }, element("h2", {}, "Modes so far"), element("label", { className: "grow" }, "At ", when), whenTold),
    element("p", { className: "small muted" }, "Of each mode a demonstrated stretch: the thin plain line is the action that was recorded, the broken one in the mode's colour what the policy would do there, with its deviation. Where the world is one of ours, also the path that the mode drives from seed 0 by the newest checkpoint."), grown);
  panel.append(done, element("div", { className: "card" }, logged, facts,
    element("div", { className: "charts" }, element("div", {}, element("h3", {}, "Loss terms"), loss, key, terms), element("div", {}, element("h3", {}, "Usage of codes"), usage, codes))), pictured);
  let offset = 0, moments = [], timer = 0, seen = 0, pictures = [], follows = true, paths = null, looked = "", failing = "";

  const modeOf = (k) => studio.modes.find((mode) => mode.modes.includes(k)) ?? { mode: k, modes: [k], color: studio.about.palette[k % studio.about.palette.length], name: `mode ${k}` };

  // Several fits of the talk's method share a log: only the last of them is drawn.
  function last() {
    let start = 0;
    moments.forEach((moment, i) => { if (i && moment.step <= moments[i - 1].step) start = i; });
    return moments.slice(start);
  }

  function chart(canvas, lines, steps, top = null) {
    const { context: c, width, height } = sharp(canvas);
    const left = 52, bottom = height - 24, above = 8;
    const all = lines.flatMap((line) => line.values).filter(Number.isFinite);
    if (!all.length) return;
    const ticks = ticksOf(Math.min(0, ...all), top ?? Math.max(0, ...all)), low = ticks[0], span = ticks.at(-1) - low, first = steps[0], wide = steps.at(-1) - first || 1;
    c.font = "12px system-ui, sans-serif"; c.fillStyle = css("--muted"); c.strokeStyle = css("--line");
    for (const tick of ticks) {
      const y = bottom - ((tick - low) / span) * (bottom - above);
      c.beginPath(); c.moveTo(left, y); c.lineTo(width - 8, y); c.stroke();
      c.textAlign = "right"; c.fillText(top === 1 ? percent(tick) : tick.toLocaleString("en", { maximumFractionDigits: 12 }), left - 6, y + 4);
    }
    c.textAlign = "left"; c.fillText(`step ${first}`, left, height - 6);
    c.textAlign = "right"; c.fillText(`step ${steps.at(-1)}`, width - 8, height - 6);
    lines.forEach((line, i) => {
      const color = line.color ?? COLORS[i % COLORS.length];
      c.setLineDash(line.dash ?? DASHES[i % DASHES.length]);
      c.beginPath();
      const place = (at) => [left + ((steps[at] - first) / wide) * (width - 8 - left), bottom - ((line.values[at] - low) / span) * (bottom - above)];
      line.values.forEach((value, at) => { if (Number.isFinite(value)) c.lineTo(...place(at)); });
      edged(c, color, 2);
      if (steps.length === 1 && Number.isFinite(line.values[0])) { c.fillStyle = color; c.setLineDash([]); c.beginPath(); c.arc(...place(0), 3, 0, 7); edged(c, color, 2); c.fill(); }
    });
    c.setLineDash([]);
  }

  function drawLog() {
    const own = last();
    if (!own.length) { facts.textContent = studio.about.has_model ? "Nothing is logged." : "Nothing is logged yet: a fit looks for modes before its first step."; sharp(loss); sharp(usage); key.replaceChildren(); codes.replaceChildren(); terms.textContent = ""; return; }
    const steps = own.map((moment) => moment.step), newest = own.at(-1);
    const names = [...new Set(own.flatMap((moment) => Object.keys(moment.terms)))];
    chart(loss, names.map((name) => ({ values: own.map((moment) => moment.terms[name] ?? NaN) })), steps);
    terms.textContent = names.filter((name) => TERMS[name]).map((name) => `${name}: ${TERMS[name]}`).join("; ") + (names.some((name) => TERMS[name]) ? "." : "");
    const n = Math.max(...own.map((moment) => moment.code_usage.length));
    const kinds = Array.from({ length: n }, (_, k) => modeOf(k));
    chart(usage, kinds.map((mode, k) => ({ values: own.map((moment) => moment.code_usage[k] ?? NaN), color: mode.color, dash: dashOf({ mode: k }) })), steps, 1);
    facts.textContent = `Step ${newest.step}${newest.loss === undefined ? "" : `, loss ${newest.loss.toFixed(4)}`}${newest.samples_per_s ? `, ${Math.round(newest.samples_per_s).toLocaleString()} samples a second` : ""}.`;
    key.replaceChildren(...names.map((name, i) => element("span", { className: "chip" }, stroke(COLORS[i % COLORS.length], DASHES[i % DASHES.length]), name)));
    codes.replaceChildren(...kinds.map((mode, k) => element("span", { className: "chip" }, stroke(mode.color, dashOf({ mode: k })), `code ${k}${mode.name === `mode ${k}` ? "" : `, ${mode.name}`}: ${percent(newest.code_usage[k] ?? 0)}`)));
  }

  // Pictures

  function drawActions(canvas, told, color) {
    const { context: c, width, height } = sharp(canvas);
    const { demonstrated, mean, deviation } = told, each = height / demonstrated.length;
    c.font = "12px system-ui, sans-serif";
    demonstrated.forEach((values, column) => {
      const top = column * each + 22, bottom = (column + 1) * each - 6, means = mean[column], spread = deviation[column];
      const finite = [...values, ...means].filter(Number.isFinite), low = Math.min(...finite), high = Math.max(...finite), span = high - low || 1;
      const x = (at) => 4 + (at / Math.max(values.length - 1, 1)) * (width - 8), y = (value) => Math.max(top - 4, Math.min(bottom + 4, bottom - ((value - low) / span) * (bottom - top)));
      c.fillStyle = color; c.globalAlpha = 0.22; c.beginPath();
      means.forEach((value, at) => { if (value !== null) c.lineTo(x(at), y(value + spread[at])); });
      [...means.keys()].reverse().forEach((at) => { if (means[at] !== null) c.lineTo(x(at), y(means[at] - spread[at])); });
      c.fill(); c.globalAlpha = 1;
      const trace = (points) => { c.beginPath(); points.forEach((value, at) => { if (value !== null) c.lineTo(x(at), y(value)); }); };
      trace(values);
      c.strokeStyle = css("--ink"); c.lineWidth = 1.2; c.stroke();
      trace(means);
      c.setLineDash([6, 3]); edged(c, color, 2.4); c.setLineDash([]);
      c.fillStyle = css("--muted");
      c.fillText(`action ${column}   ${low.toFixed(2)} to ${high.toFixed(2)}`, 4, column * each + 12);
    });
  }

  function drawPictures() {
    const picture = pictures[Number(when.value)];
    pictured.hidden = !picture;
    if (!picture) return;
    whenTold.textContent = `step ${picture.step.toLocaleString()}${Number(when.value) === pictures.length - 1 ? ", the newest" : ` of ${pictures.at(-1).step.toLocaleString()}`}`;
    grown.replaceChildren(...picture.modes.map((told) => {
      const mode = modeOf(told.mode), card = element("article", { className: "card" }, element("header", {}, element("h3", {}, chip(mode)), element("span", { className: "small muted" }, `${percent(told.share)} of the steps`)));
      const path = paths?.modes.find((own) => own.mode === told.mode);
      if (!told.mean) card.append(element("p", { className: "small muted" }, "No demonstration is in it."));
      else {
        const canvas = element("canvas", { className: "actions", role: "img", ariaLabel: `Actions of ${mode.name}: recorded, and what the policy would do` });
        canvas.style.height = `${told.demonstrated.length * 84}px`;
        canvas.repaint = () => drawActions(canvas, told, mode.color);
        card.append(element("p", { className: "small muted" }, `Episode ${told.episode}, from step ${told.first_step}`), canvas);
      }
      if (path) {
        const stage = element("canvas", { className: "stage small-stage", role: "img", ariaLabel: `The path of ${mode.name} from above` });
        const [x, y] = path.path.at(-1), [px, py] = path.path.at(-2) ?? [x, y];
        stage.repaint = () => drawScene(stage, paths.layout, { ...paths.scene, robot: [x, y, Math.atan2(y - py, x - px)] }, path.path.map(([a, b]) => [a, b, 0]), () => ({ color: mode.color }), sightOf(paths.layout, path.path));
        card.append(element("p", { className: "small muted" }, `Its path at step ${paths.step.toLocaleString()}`), stage);
      }
      return card;
    }));
    for (const canvas of grown.querySelectorAll("canvas")) canvas.repaint?.();
  }

  async function askPictures() {
    const found = await get("/api/fit/pictures", { offset: seen });
    if (found.restarted) { pictures = []; follows = true; }
    seen = found.offset;
    if (!found.pictures.length) return;
    pictures = [...pictures, ...found.pictures].slice(-500);
    when.max = pictures.length - 1;
    if (follows) when.value = when.max;
    drawPictures();
    const newest = String(pictures.at(-1).step);
    if (newest === looked) return;
    looked = newest;
    const now = await get("/api/fit/paths");
    if (now.step !== null && now.step !== paths?.step) { paths = now; drawPictures(); }
  }

  // The logs that there are by now, each by its method's name.
  function offer(logs) {
    logged.hidden = !logs.length;
    if (logs.length === log.options.length) return;
    const chosen = log.value;
    log.replaceChildren(...logs.map((own) => element("option", { value: own.log, selected: own.log === chosen }, own.title)));
  }

  async function ask() {
    clearTimeout(timer);
    try {
      const found = await get("/api/fit", { log: log.value || undefined, offset });
      offer(found.logs);
      if (found.restarted) moments = [];
      moments = [...moments, ...found.moments].slice(-20000);
      offset = found.offset;
      if (found.moments.length || !moments.length || failing) drawLog();
      if (log.value !== "talk") await askPictures(); // they are of the run's own fit
      failing = "";
    } catch (error) {
      if (error.message !== failing) say(error.message, true); // once, as it is asked for again every second
      failing = facts.textContent = error.message;
    }
    timer = setTimeout(ask, 1000);
  }

  log.addEventListener("change", () => { offset = 0; moments = []; ask(); });
  when.addEventListener("input", () => { follows = when.value === when.max; drawPictures(); });
  return {
    shown() { ask(); drawLog(); drawPictures(); },
    left() { clearTimeout(timer); },
    changed() { done.hidden = !waited; if (pictures.length) drawPictures(); },
    redraw() { drawLog(); for (const canvas of grown.querySelectorAll("canvas")) canvas.repaint?.(); },
  };
}
