// A fit as it goes: loss terms and the usage of codes, asked for again every second while the page is looked at.

import { get, say } from "./api.js";
import { css, element, sharp } from "./marks.js";

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 4], [12, 4]];
const COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

export function trainView(panel, studio) {
  const method = element("select", { ariaLabel: "Method" }, element("option", { value: "unbraid" }, "unbraid's method"), element("option", { value: "talk" }, "the talk's method"));
  const facts = element("p", { className: "small muted", id: "fit-facts" });
  const loss = element("canvas", { className: "chart", role: "img", ariaLabel: "Loss terms by gradient step" });
  const usage = element("canvas", { className: "chart", role: "img", ariaLabel: "Usage of codes by gradient step" });
  const key = element("div", { className: "chips small" });
  panel.append(element("div", { className: "card" }, element("div", { className: "row" }, element("label", {}, "Log of ", method)), facts,
    element("h3", {}, "Loss terms"), loss, key, element("h3", {}, "Usage of codes"), usage));
  let offset = 0, moments = [], timer = 0;

  // Several fits of the talk's method share a log: only the last of them is drawn.
  function last() {
    let start = 0;
    moments.forEach((moment, i) => { if (i && moment.step <= moments[i - 1].step) start = i; });
    return moments.slice(start);
  }

  function chart(canvas, lines, steps) {
    const { context: c, width, height } = sharp(canvas);
    const left = 52, bottom = height - 24, top = 8;
    const all = lines.flatMap((line) => line.values).filter(Number.isFinite);
    if (!all.length) return;
    const low = Math.min(0, ...all), high = Math.max(...all), span = high - low || 1, first = steps[0], wide = steps.at(-1) - first || 1;
    c.font = "12px system-ui, sans-serif"; c.fillStyle = css("--muted"); c.strokeStyle = css("--line");
    for (let i = 0; i <= 4; i += 1) {
      const y = bottom - (i / 4) * (bottom - top);
      c.beginPath(); c.moveTo(left, y); c.lineTo(width - 8, y); c.stroke();
      c.textAlign = "right"; c.fillText((low + (i / 4) * span).toPrecision(2), left - 6, y + 4);
    }
    c.textAlign = "left"; c.fillText(`step ${first}`, left, height - 6);
    c.textAlign = "right"; c.fillText(`step ${steps.at(-1)}`, width - 8, height - 6);
    lines.forEach((line, i) => {
      c.strokeStyle = line.color ?? COLORS[i % COLORS.length]; c.lineWidth = 2; c.setLineDash(DASHES[i % DASHES.length]);
      c.beginPath();
      line.values.forEach((value, at) => { if (Number.isFinite(value)) c.lineTo(left + ((steps[at] - first) / wide) * (width - 8 - left), bottom - ((value - low) / span) * (bottom - top)); });
      c.stroke();
    });
    c.setLineDash([]);
  }

  function draw() {
    const own = last();
    if (!own.length) { facts.textContent = "Nothing is logged yet."; sharp(loss); sharp(usage); key.replaceChildren(); return; }
    const steps = own.map((moment) => moment.step), newest = own.at(-1);
    const names = [...new Set(own.flatMap((moment) => Object.keys(moment.terms)))];
    chart(loss, names.map((name) => ({ values: own.map((moment) => moment.terms[name] ?? NaN) })), steps);
    const n = Math.max(...own.map((moment) => moment.code_usage.length));
    chart(usage, Array.from({ length: n }, (_, k) => ({ values: own.map((moment) => moment.code_usage[k] ?? NaN), color: studio.mode(k)?.color })), steps);
    facts.textContent = `Step ${newest.step}${newest.loss === undefined ? "" : `, loss ${newest.loss.toFixed(4)}`}${newest.samples_per_s ? `, ${Math.round(newest.samples_per_s).toLocaleString()} samples a second` : ""}. Usage now: ${newest.code_usage.map((u) => `${(100 * u).toFixed(0)} %`).join(", ")}.`;
    key.replaceChildren(...names.map((name, i) => {
      const line = element("canvas", { width: 34, height: 10, ariaHidden: "true" }), c = line.getContext("2d");
      c.strokeStyle = COLORS[i % COLORS.length]; c.lineWidth = 2.5; c.setLineDash(DASHES[i % DASHES.length]);
      c.beginPath(); c.moveTo(0, 5); c.lineTo(34, 5); c.stroke();
      return element("span", { className: "chip" }, line, name);
    }));
  }

  async function ask() {
    clearTimeout(timer);
    try {
      const found = await get("/api/fit", { method: method.value, offset });
      if (found.restarted) moments = [];
      moments = [...moments, ...found.moments].slice(-20000);
      offset = found.offset;
      if (found.moments.length || !moments.length) draw();
    } catch (error) { say(error.message, true); }
    timer = setTimeout(ask, 1000);
  }

  method.addEventListener("change", () => { offset = 0; moments = []; ask(); });
  return { shown() { ask(); draw(); }, left() { clearTimeout(timer); }, redraw: draw };
}
