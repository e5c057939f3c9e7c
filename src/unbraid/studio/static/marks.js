// How a mode looks everywhere: a colour, a pattern and a name, so that colour alone never tells.

const cache = new Map();

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (name in made && name !== "list" && name !== "form") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Builds a place anew; a control there that has the focus gives it to the one that takes its place.
export function rebuilt(place, ...children) {
  const controls = () => [...place.querySelectorAll("button, input, select, summary")];
  const at = controls().indexOf(document.activeElement);
  place.replaceChildren(...children);
  if (at >= 0) controls().slice(0, at + 1).at(-1)?.focus();
}

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A canvas that is as sharp as the screen; returns its context and size in CSS pixels.
export function sharp(canvas) {
  const scale = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  const wide = Math.max(1, Math.round(width * scale)), high = Math.max(1, Math.round(height * scale));
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

const strokes = [
  () => {},
  (c) => { c.moveTo(-2, 10); c.lineTo(10, -2); },
  (c) => { c.moveTo(2, 0); c.lineTo(2, 8); },
  (c) => { c.moveTo(0, 2); c.lineTo(8, 2); },
  (c) => { c.moveTo(-2, -2); c.lineTo(10, 10); },
  (c) => { c.moveTo(2, 0); c.lineTo(2, 8); c.moveTo(0, 2); c.lineTo(8, 2); },
  (c) => { c.rect(2, 2, 2, 2); },
  (c) => { c.moveTo(-2, 10); c.lineTo(10, -2); c.moveTo(-2, -2); c.lineTo(10, 10); },
];

// Colours repeat after eight modes, and so do patterns; the patterns of each further eight are one place on, so that no two
// of the first 64 modes have both in common.
export const patternOf = (mode) => (mode + Math.floor(mode / strokes.length)) % strokes.length;

// The lines of modes, in the same order: how long what is drawn and what is left out is, in widths of a line of 1 px.
export const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 4], [12, 4], [12, 3, 2, 3, 2, 3], [16, 3, 5, 3]];
export const dashOf = (mode) => DASHES[patternOf(mode.mode)];

// The fill of a mode: its colour, with the pattern that goes with its number.
export function fill(context, mode) {
  const pattern = patternOf(mode.mode), key = `${mode.color}/${pattern}`;
  if (!cache.has(key)) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const c = tile.getContext("2d");
    c.fillStyle = mode.color;
    c.fillRect(0, 0, 8, 8);
    c.strokeStyle = "rgba(255,255,255,.75)";
    c.lineWidth = 1.6;
    c.beginPath();
    strokes[pattern](c);
    c.stroke();
    cache.set(key, tile);
  }
  return context.createPattern(cache.get(key), "repeat");
}

// The path so far as a line of a colour, on a wider one: not every mode's colour stands out from both themes' grounds.
export function edged(c, color, width, edge = 0.8) {
  c.lineWidth = width + 2 * edge; c.strokeStyle = css("--muted");
  c.stroke();
  c.lineWidth = width; c.strokeStyle = color;
  c.stroke();
}

// The edge of a bar, for the same reason.
export function framed(c, x, y, width, height) {
  c.lineWidth = 1; c.strokeStyle = css("--muted");
  if (width > 0) c.strokeRect(x + 0.5, y + 0.5, Math.max(width - 1, 0), Math.max(height - 1, 0));
}

export function swatch(mode) {
  const canvas = element("canvas", { className: "swatch", width: 22, height: 14, ariaHidden: "true" });
  const context = canvas.getContext("2d");
  context.fillStyle = fill(context, mode);
  context.fillRect(0, 0, 22, 14);
  return canvas;
}

// A piece of line as a key to a chart.
export function stroke(color, dash) {
  const canvas = element("canvas", { className: "stroke", width: 68, height: 20, ariaHidden: "true" }), c = canvas.getContext("2d");
  c.scale(2, 2);
  c.setLineDash(dash);
  c.beginPath(); c.moveTo(0, 5); c.lineTo(34, 5);
  edged(c, color, 2.5);
  return canvas;
}

// Which mode a piece of a path is in.
export function pathKey(modes) {
  return element("div", { className: "chips small path-key" }, element("span", { className: "muted" }, "Path:"), ...modes.map((mode) => element("span", { className: "chip" }, stroke(mode.color, dashOf(mode)), mode.name)));
}

export const chip = (mode) => element("span", { className: "chip" }, swatch(mode), element("span", { title: mode.name }, mode.name));

// A bar from 0 to 1; `what` says of what.
export function meter(mode, what) {
  const canvas = element("canvas", { height: 12 });
  const made = element("div", { className: "meter", role: "meter", ariaLabel: `${mode.name}, ${what}`, ariaValueMin: "0", ariaValueMax: "1" }, canvas);
  let now = 0;
  made.show = (share = now) => {
    now = share;
    const { context, width, height } = sharp(canvas);
    context.fillStyle = fill(context, mode);
    context.fillRect(0, 0, width * share, height);
    framed(context, 0, 0, width * share, height);
    made.setAttribute("aria-valuenow", share.toFixed(2));
  };
  return made;
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

export function estimate(e, digits = 2) {
  if (!e) return "not recorded";
  const value = e.value.toFixed(digits);
  return e.low === null ? `${value} (n = ${e.n})` : `${value} (${e.low.toFixed(digits)} to ${e.high.toFixed(digits)})`;
}

export function estimateOfShare(e) {
  return e.low === null ? `${percent(e.value, 1)} (n = ${e.n})` : `${percent(e.value, 1)} (${percent(e.low, 1)} to ${percent(e.high, 1)})`;
}
