// Which columns are drawn where there is no picture from above: one choice for all tabs; at first those that tell modes apart.

import { get } from "./api.js";
import { element } from "./marks.js";

const MOST = 8, FIRST = 4;

// The choice. `changed` is called when other columns are drawn than before.
export function columnChoice(studio, changed) {
  const { about } = studio;
  const [seen, acted] = about.widths;
  const names = about.columns ?? [...Array(seen).keys()].map((i) => `observation ${i}`).concat([...Array(acted).keys()].map((i) => `action ${i}`));
  let chosen = null, telling = names.map((_, i) => i), loading = null, loadedFor = "";

  return {
    names,
    nLive: seen + acted, // how many columns there are of an agent that acts now: no reward, no cost
    get isOwn() { return chosen !== null; },
    drawn(n = names.length) {
      const own = (chosen ?? []).filter((column) => column < n);
      return own.length ? own : telling.filter((column) => column < n).slice(0, FIRST);
    },
    choose(columns) { chosen = columns?.length ? columns.slice(0, MOST) : null; changed(); },
    // Asks which columns tell the modes apart that are shown by now.
    load() {
      if (!about.has_demos || loadedFor === String(studio.leads)) return loading;
      loadedFor = String(studio.leads);
      loading = get("/api/telling").then(({ columns }) => { telling = columns; if (!chosen) changed(); }).catch(() => {}); // the list of episodes says what is wrong
      return loading;
    },
  };
}

// Boxes to choose by, of the first n columns.
function columnPicker(choice, n) {
  const boxes = choice.names.slice(0, n).map((name, column) => {
    const input = element("input", { type: "checkbox", value: column });
    input.addEventListener("change", () => choose(column, input.checked));
    return { column, input, root: element("label", {}, input, element("span", {}, name)) };
  });
  const title = element("legend", { className: "small muted" });
  const back = element("button", { type: "button", className: "small", on: { click: () => { boxes[0]?.input.focus(); choice.choose(null); } } }, "Those that tell modes apart");
  const root = element("fieldset", { className: "columns" }, title, element("div", { className: "boxes small" }, ...boxes.map((box) => box.root)), back);

  function choose(column, wanted) {
    const others = choice.drawn(n).filter((other) => other !== column);
    choice.choose(wanted ? [...others, column] : others);
  }
  root.show = () => {
    const drawn = choice.drawn(n);
    title.textContent = `Columns drawn: ${drawn.length} of ${boxes.length}, up to ${MOST}`;
    back.disabled = !choice.isOwn;
    for (const { column, input } of boxes) {
      input.checked = drawn.includes(column);
      input.disabled = !input.checked && drawn.length >= MOST;
    }
  };
  root.show();
  return root;
}

// The same, folded away.
export function foldedPicker(choice, n = choice.names.length) {
  const picker = columnPicker(choice, n), root = element("details", { className: "gap" }, element("summary", {}, "Columns drawn"), picker);
  root.show = picker.show;
  return root;
}

// What an agent's picture holds of every column: what it saw, and what it did last.
export const rowOf = (told) => [...told.observation, ...(told.action ?? [])];

// Series of chosen columns for `drawPlots`, of rows.
export function seriesOf(choice, rows, limits) {
  return choice.drawn(choice.nLive).map((column) => ({ name: choice.names[column] ?? `column ${column}`, values: rows.map((row) => row[column] ?? NaN), limits: limits[column] }));
}
