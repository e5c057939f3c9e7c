// The top-down picture of one of our worlds, and plots of columns for any other.

import { css, dashOf, edged, sharp } from "./marks.js";

const SCALE = 20; // the height of the strip below a picture that its scale stands in, so that it covers nothing
const GOAL = "#1565d8", HAZARD = "#d5332b", VASE = "#7d8694";

// What must be in sight, so that pictures that are compared have one scale: the arena and all places that are named.
export function sightOf(layout, ...paths) {
  const edge = layout.half_side_m;
  let [left, right, low, high] = [-edge, edge, -edge, edge];
  for (const path of paths) for (const [x, y] of path) { left = Math.min(left, x); right = Math.max(right, x); low = Math.min(low, y); high = Math.max(high, y); }
  return { x: (left + right) / 2, y: (low + high) / 2, half: (Math.max(right - left, high - low) / 2) * 1.06 + 0.2 };
}

// layout: {hazards, half_side_m}; scene: {robot: [x, y, heading], goal, vases}; trail: [[x, y, mode or null], ...];
// sight: of `sightOf`; the arena and the robot, where none is given.
export function drawScene(canvas, layout, scene, trail = [], modeOf = () => null, sight = null) {
  const { context: c, width, height: whole } = sharp(canvas), height = whole - SCALE;
  const [x, y, heading] = scene.robot;
  const seen = sight ?? sightOf(layout, [scene.robot]);
  const pixel = Math.min(width, height) / (2 * seen.half);
  c.save();
  c.beginPath(); c.rect(0, 0, width, height); c.clip(); // a path that leaves the picture does not run through its scale
  c.translate(width / 2, height / 2);
  c.scale(pixel, -pixel);
  c.translate(-seen.x, -seen.y);
  c.fillStyle = css("--arena");
  c.strokeStyle = css("--edge");
  c.lineWidth = 1.5 / pixel;
  const side = layout.half_side_m;
  c.fillRect(-side, -side, 2 * side, 2 * side);
  c.strokeRect(-side, -side, 2 * side, 2 * side);
  for (const [hx, hy] of layout.hazards) hazard(c, hx, hy, pixel);
  disc(c, scene.goal[0], scene.goal[1], 0.3, GOAL, 0.85);
  ring(c, scene.goal[0], scene.goal[1], 0.17, "#ffffff", 2 / pixel);
  c.fillStyle = VASE;
  for (const [vx, vy, turn] of scene.vases) {
    c.save(); c.translate(vx, vy); c.rotate(turn); c.fillRect(-0.1, -0.1, 0.2, 0.2); c.restore();
  }
  for (const [ox, oy, r] of [[...scene.goal, 0.3], ...layout.hazards.map((place) => [...place, 0.2])]) ring(c, ox, oy, r, css("--muted"), 1 / pixel);
  drawTrail(c, trail, pixel, modeOf);
  c.translate(x, y);
  c.rotate(heading);
  c.fillStyle = css("--ink");
  c.strokeStyle = css("--card");
  c.lineWidth = 2 / pixel;
  const r = Math.max(0.12, 7 / pixel);
  c.beginPath();
  c.moveTo(1.5 * r, 0); c.lineTo(-0.9 * r, 0.95 * r); c.lineTo(-0.4 * r, 0); c.lineTo(-0.9 * r, -0.95 * r);
  c.closePath();
  c.fill(); c.stroke();
  c.restore();
  drawScale(c, pixel, width, whole);
}

const METRES = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];

// The longest round length that takes up no more than a third of the width.
export const scaleOf = (pixel, width) => METRES.filter((metres) => metres * pixel <= width / 3).at(-1) ?? METRES[0];

function drawScale(c, pixel, width, height) {
  const metres = scaleOf(pixel, width), long = metres * pixel, text = `${metres} m`;
  const y = height - SCALE / 2;
  c.fillStyle = c.strokeStyle = css("--ink");
  c.lineWidth = 2; c.lineCap = c.lineJoin = "miter";
  c.beginPath(); c.moveTo(10, y - 4); c.lineTo(10, y + 4); c.moveTo(10, y); c.lineTo(10 + long, y); c.moveTo(10 + long, y - 4); c.lineTo(10 + long, y + 4); c.stroke();
  c.font = "12px system-ui, sans-serif";
  c.fillText(text, 16 + long, y + 4);
}

// Each mode's stretch in its colour and pattern; what has a colour alone, as where all is of one mode, is a whole line.
function drawTrail(c, trail, pixel, modeOf) {
  c.lineJoin = "round";
  let at = 1;
  while (at < trail.length) {
    const index = trail[at][2], mode = modeOf(index), dash = mode?.mode === undefined ? [] : dashOf(mode);
    c.beginPath();
    c.moveTo(trail[at - 1][0], trail[at - 1][1]);
    while (at < trail.length && trail[at][2] === index) { c.lineTo(trail[at][0], trail[at][1]); at += 1; }
    c.lineCap = dash.length ? "butt" : "round";
    c.setLineDash(dash.map((length) => length / pixel));
    edged(c, mode?.color ?? css("--muted"), 2.5 / pixel, 1 / pixel);
  }
  c.setLineDash([]);
}

function disc(c, x, y, r, color, alpha) {
  c.globalAlpha = alpha;
  c.fillStyle = color;
  c.beginPath(); c.arc(x, y, r, 0, 7); c.fill();
  c.globalAlpha = 1;
}

function ring(c, x, y, r, color, width) {
  c.strokeStyle = color; c.lineWidth = width;
  c.beginPath(); c.arc(x, y, r, 0, 7); c.stroke();
}

function hazard(c, x, y, pixel) {
  disc(c, x, y, 0.2, HAZARD, 0.8);
  c.strokeStyle = "#ffffff"; c.lineWidth = 1.6 / pixel;
  c.beginPath(); c.moveTo(x - 0.08, y - 0.08); c.lineTo(x + 0.08, y + 0.08); c.moveTo(x - 0.08, y + 0.08); c.lineTo(x + 0.08, y - 0.08);
  c.stroke();
}

// The least and the largest number of every column, over all tables, so that plots that are compared have one scale.
export function limitsOf(...tables) {
  const rows = tables.flat();
  return rows[0]?.map((_, column) => {
    const finite = rows.map((row) => row[column]).filter(Number.isFinite);
    return [Math.min(...finite), Math.max(...finite)];
  });
}

// series: [{name, values, limits, band, color}], one below the other; limits: [low, high], those of the values where there are none;
// band: [lows, highs] around the values, where they spread; color: of a mode;
// steps: [first, last], of the axis; cursor: a share of the width.
export function drawPlots(canvas, series, steps, cursor = null) {
  const { context: c, width, height: whole } = sharp(canvas);
  const height = whole - 18, each = height / Math.max(series.length, 1);
  c.font = "12px system-ui, sans-serif";
  c.fillStyle = css("--muted");
  c.fillText(`step ${steps[0]}`, 6, whole - 5);
  c.textAlign = "right"; c.fillText(`step ${steps[1]}`, width - 6, whole - 5); c.textAlign = "left";
  series.forEach(({ name, values, limits, band, color }, index) => {
    const top = index * each + 20, bottom = (index + 1) * each - 5;
    const finite = values.filter(Number.isFinite);
    const [low, high] = limits ?? [Math.min(...finite), Math.max(...finite)], span = high - low || 1;
    c.strokeStyle = css("--line"); c.lineWidth = 1;
    c.beginPath(); c.moveTo(0, bottom + 3); c.lineTo(width, bottom + 3); c.stroke();
    const x = (at) => (at / Math.max(values.length - 1, 1)) * width, y = (value) => bottom - ((value - low) / span) * (bottom - top);
    if (band) {
      c.fillStyle = color; c.globalAlpha = 0.3; c.beginPath();
      band[1].forEach((value, at) => c.lineTo(x(at), y(value)));
      [...band[0].keys()].reverse().forEach((at) => c.lineTo(x(at), y(band[0][at])));
      c.fill(); c.globalAlpha = 1;
    }
    c.beginPath();
    values.forEach((value, at) => c.lineTo(x(at), y(value)));
    if (color) edged(c, color, 2); else { c.strokeStyle = css("--accent"); c.lineWidth = 1.5; c.stroke(); }
    if (cursor !== null) { // below the column's name, which it would run through
      c.strokeStyle = css("--ink"); c.lineWidth = 1.5;
      c.beginPath(); c.moveTo(cursor * width, top - 3); c.lineTo(cursor * width, bottom + 3); c.stroke();
    }
    c.fillStyle = css("--ink");
    c.fillText(finite.length ? `${name}   ${low.toFixed(2)} to ${high.toFixed(2)}` : name, 6, index * each + 12, width - 12);
  });
}
