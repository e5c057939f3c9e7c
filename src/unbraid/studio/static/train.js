// A fit as it goes: pictures of its modes, loss terms, usage of codes; asked for again every second while looked at.

import { get, say } from "./api.js";
import { chip, css, edged, element, percent, sharp, stroke } from "./marks.js";
import { drawScene, sightOf } from "./scene.js";

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 4], [12, 4]];
const COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

export function trainView(panel, studio) {
  const method = element("select", { ariaLabel: "Method" }, element("option", { value: "unbraid" }, "unbraid's method"), element("option", { value: "talk" }, "the talk's method"));
  const facts = element("p", { className: "small muted", id: "fit-facts", role: "status" });
  const done = element("p", { className: "remark", hidden: true }, "The model is there. ", element("button", { type: "button", on: { click: () => studio.open(studio.about.has_demos ? "demos" : "steer") } }, "Open it"));
  const waited = !studio.about.has_model;
  const loss = element("canvas", { className: "chart", role: "img", ariaLabel: "Loss terms by gradient step" });
  const usage = element("canvas", { className: "chart", role: "img", ariaLabel: "Usage of codes by gradient step" });
  const key = element("div", { className: "chips small" }), codes = element("div", { className: "chips small" });
  const when = element("input", { type: "range", id: "picture-step", min: 0, max: 0, value: 0, ariaLabel: "Gradient step of the pictures" });
  const whenTold = element("output", { className: "small" }), grown = element("div", { className: "cards", id: "pictures" });
  const pictured = element("div", { className: "card gap", hidden: true },
    element("div", { className: "row" }, element("h2", {}, "Modes so far"), element("label", { className: "grow" }, "At ", when), whenTold),
    element("p", { className: "small muted" }, "Of each mode a demonstrated stretch: the dark line is the action that was recorded, the coloured one what the policy would do there, with its deviation. Where the world is one of ours, also the path that the mode drives from seed 0 by the newest checkpoint."), grown);
  panel.append(done, element("div", { className: "card" }, element("div", { className: "row" }, element("label", {}, "Log of ", method)), facts,
    element("div", { className: "charts" }, element("div", {}, element("h3", {}, "Loss terms"), loss, key), element("div", {}, element("h3", {}, "Usage of codes"), usage, codes))), pictured);
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
    const low = Math.min(0, ...all), high = top ?? Math.max(...all), span = high - low || 1, first = steps[0], wide = steps.at(-1) - first || 1;
    c.font = "12px system-ui, sans-serif"; c.fillStyle = css("--muted"); c.strokeStyle = css("--line");
    for (let i = 0; i <= 4; i += 1) {
      const y = bottom - (i / 4) * (bottom - above);
      c.beginPath(); c.moveTo(left, y); c.lineTo(width - 8, y); c.stroke();
      c.textAlign = "right"; c.fillText(top === 1 ? percent(i / 4) : (low + (i / 4) * span).toPrecision(2), left - 6, y + 4);
    }
    c.textAlign = "left"; c.fillText(`step ${first}`, left, height - 6);
    c.textAlign = "right"; c.fillText(`step ${steps.at(-1)}`, width - 8, height - 6);
    lines.forEach((line, i) => {
      const color = line.color ?? COLORS[i % COLORS.length];
      c.setLineDash(DASHES[i % DASHES.length]);
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
    if (!own.length) { facts.textContent = studio.about.has_model ? "Nothing is logged." : "Nothing is logged yet: a fit looks for modes before its first step."; sharp(loss); sharp(usage); key.replaceChildren(); codes.replaceChildren(); return; }
    const steps = own.map((moment) => moment.step), newest = own.at(-1);
    const names = [...new Set(own.flatMap((moment) => Object.keys(moment.terms)))];
    chart(loss, names.map((name) => ({ values: own.map((moment) => moment.terms[name] ?? NaN) })), steps);
    const n = Math.max(...own.map((moment) => moment.code_usage.length));
    const kinds = Array.from({ length: n }, (_, k) => modeOf(k));
    chart(usage, kinds.map((mode, k) => ({ values: own.map((moment) => moment.code_usage[k] ?? NaN), color: mode.color })), steps, 1);
    facts.textContent = `Step ${newest.step}${newest.loss === undefined ? "" : `, loss ${newest.loss.toFixed(4)}`}${newest.samples_per_s ? `, ${Math.round(newest.samples_per_s).toLocaleString()} samples a second` : ""}.`;
    key.replaceChildren(...names.map((name, i) => element("span", { className: "chip" }, stroke(COLORS[i % COLORS.length], DASHES[i % DASHES.length]), name)));
    codes.replaceChildren(...kinds.map((mode, k) => element("span", { className: "chip" }, stroke(mode.color, DASHES[k % DASHES.length]), `code ${k}${mode.name === `mode ${k}` ? "" : `, ${mode.name}`}: ${percent(newest.code_usage[k] ?? 0)}`)));
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
        stage.repaint = () => drawScene(stage, paths.layout, { ...paths.scene, robot: [x, y, Math.atan2(y - py, x - px)] }, path.path.map(([a, b]) => [a, b, 0]), () => mode, sightOf(paths.layout, path.path));
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

  async function ask() {
    clearTimeout(timer);
    try {
      const found = await get("/api/fit", { method: method.value, offset });
      if (found.restarted) moments = [];
      moments = [...moments, ...found.moments].slice(-20000);
      offset = found.offset;
      if (found.moments.length || !moments.length || failing) drawLog();
      if (method.value === "unbraid" || studio.about.method === "talk") await askPictures();
      failing = "";
    } catch (error) {
      if (error.message !== failing) say(error.message, true); // once, as it is asked for again every second
      failing = facts.textContent = error.message;
    }
    timer = setTimeout(ask, 1000);
  }

  method.addEventListener("change", () => { offset = 0; moments = []; ask(); });
  when.addEventListener("input", () => { follows = when.value === when.max; drawPictures(); });
  return {
    shown() { ask(); drawLog(); drawPictures(); },
    left() { clearTimeout(timer); },
    changed() { done.hidden = !waited; if (pictures.length) drawPictures(); },
    redraw() { drawLog(); for (const canvas of grown.querySelectorAll("canvas")) canvas.repaint?.(); },
  };
}
