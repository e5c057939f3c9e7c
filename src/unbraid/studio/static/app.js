// The page: tabs, what all of them know, naming of modes, undo, keys.

import { get, post, say } from "./api.js";
import { chip, element } from "./marks.js";
import { columnChoice } from "./columns.js";
import { demosView } from "./demos.js";
import { modesView } from "./modes.js";
import { steerView } from "./steer.js";
import { teachView } from "./teach.js";
import { trainView } from "./train.js";
import { waitingView, whenDone } from "./waiting.js";

const byId = (id) => document.getElementById(id);

// What every view knows; `changed` tells them that modes were renamed, merged or noted.
export const studio = {
  about: null,
  modes: [],
  leads: [],
  columns: null,
  mark: null, // of the edits that this page knows
  mode(index) { return this.modes.find((mode) => mode.mode === index) ?? null; },
  open(view) { show(view); },
  play(episode) { show("demos"); views.demos.play(episode); },
  edit: editMode,
  catchUp,
  async said(answer) {
    Object.assign(this, { modes: answer.modes, leads: answer.leads, mark: answer.mark });
    head();
    allow("undo", "redo", answer.can_undo);
    allow("redo", "undo", answer.can_redo);
    this.columns.load();
    for (const view of Object.values(views)) view.changed?.();
    views[current]?.shown?.();
  },
};

// A button that has the focus and can do no more gives it to the other one.
function allow(name, other, can) {
  const button = byId(name), had = document.activeElement === button;
  button.disabled = !can;
  if (had && !can) { byId(other).disabled = false; byId(other).focus(); }
}

// What was said elsewhere, in another tab or by another person, is asked for when this page is looked at again.
async function catchUp() {
  const known = studio.mark;
  if (known === null) return;
  const now = await get("/api/about").catch(() => null); // a server that is gone is told of where something is asked of it
  if (now?.has_model && now.mark !== known && studio.mark === known) await studio.said(now);
}

// What is there only when there is a model says what will be there.
const tabs = [
  ["demos", "Demonstrations", demosView, "Every episode, its mode, and a player."],
  ["modes", "Modes", modesView, "A card for each mode."],
  ["steer", "Steer", steerView, "An agent that is steered between modes while it acts."],
  ["teach", "Teach", teachView, "Pairs of clips, to say which mode is wanted when."],
  ["train", "Train", trainView, null],
];
const views = {};
let current = "";

function show(name) {
  if (name === current) { views[name].shown?.(); return; } // what failed before is tried again
  views[current]?.left?.();
  current = name;
  for (const [id] of tabs) {
    byId(`panel-${id}`).hidden = id !== name;
    const tab = byId(`tab-${id}`);
    tab.setAttribute("aria-selected", id === name);
    tab.tabIndex = id === name ? 0 : -1;
  }
  history.replaceState(null, "", `#${name}`);
  views[name].shown?.();
  catchUp();
}

function buildTabs() {
  for (const [id, title] of tabs) {
    const tab = element("button", { id: `tab-${id}`, type: "button", role: "tab", "aria-controls": `panel-${id}` }, title);
    tab.addEventListener("click", () => show(id));
    byId("tabs").append(tab);
  }
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = tabs.findIndex(([id]) => id === current);
    const next = tabs[(at + step + tabs.length) % tabs.length][0];
    show(next);
    byId(`tab-${next}`).focus();
    event.preventDefault();
  });
}

function editMode(mode) {
  const dialog = byId("edit");
  const others = studio.modes.filter((other) => other.mode !== mode.mode);
  const name = element("input", { type: "text", id: "edit-name", maxLength: 60, value: mode.name });
  const note = element("textarea", { id: "edit-note", maxLength: 2000, value: mode.note });
  const into = element("select", { id: "edit-into" }, element("option", { value: "" }, "stays by itself"),
    ...others.map((other) => element("option", { value: other.mode }, `is part of ${other.name}`)));
  const split = mode.modes.slice(1).map((part) => element("button", { type: "button", on: { click: () => done([{ kind: "split", about: part }]) } }, `Split mode ${part} off`));
  async function done(edits) {
    dialog.close();
    try {
      let answer = null, changed = false;
      for (const edit of edits) { answer = await post("/api/edits", edit); changed ||= answer.changed; }
      if (answer) await studio.said(answer);
      say(changed ? "Saved with the run." : "Nothing was changed.");
    } catch (error) { // what was said before it is saved
      say(error.message, true);
      if (edits.length > 1) await get("/api/about").then((about) => studio.said(about)).catch(() => {});
    }
  }
  function save(event) {
    event.preventDefault();
    const edits = [];
    if (name.value.trim() !== mode.name) edits.push({ kind: "rename", about: mode.mode, text: name.value });
    if (note.value.trim() !== mode.note) edits.push({ kind: "note_mode", about: mode.mode, text: note.value });
    if (into.value !== "") edits.push({ kind: "merge", about: mode.mode, into: Number(into.value) });
    done(edits);
  }
  dialog.replaceChildren(element("form", { on: { submit: save } },
    element("h2", { id: "edit-title" }, chip(mode)),
    element("label", { htmlFor: "edit-name" }, "Name"), name,
    element("label", { htmlFor: "edit-note" }, "Note"), note,
    element("label", { htmlFor: "edit-into" }, "This mode"), into,
    element("div", { className: "row gap" }, element("button", { className: "primary", type: "submit", id: "edit-save" }, "Save"),
      element("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel"), ...split)));
  dialog.showModal();
  name.select();
}

// Whether the control that has the focus uses a key itself: no shortcut may take it then.
function usesKey({ target, key }) {
  if (target.matches("select, textarea, input:not([type=range], [type=checkbox])")) return true;
  if (key.startsWith("Arrow")) return target.matches("input[type=range], [role=tab]");
  return key === " " && target.closest("button, summary, a, input[type=checkbox]") !== null;
}

async function step(verb) {
  try {
    const answer = await post(`/api/edits/${verb}`);
    await studio.said(answer);
    if (answer.changed) say(verb === "undo" ? "Undone." : "Done again.");
    else say(verb === "undo" ? "There is nothing to undo." : "There is nothing to do again.");
  } catch (error) { say(error.message, true); }
}

function nextTheme() {
  const order = ["", "light", "dark"];
  const next = order[(order.indexOf(document.documentElement.dataset.theme ?? "") + 1) % order.length];
  setTheme(next);
  try { localStorage.setItem("unbraid-theme", next); } catch { /* a browser that keeps nothing */ }
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
  byId("theme").textContent = `Theme: ${theme || "system"}`;
  redraw();
}

function redraw() { for (const view of Object.values(views)) view.redraw?.(); }

function head() {
  const { about } = studio;
  document.title = `${about.run} · unbraid studio`;
  const size = about.has_demos ? `${about.n_episodes.toLocaleString()} episodes, ${about.n_steps.toLocaleString()} steps` : "";
  byId("run").textContent = [about.run, about.method && `${studio.modes.length} mode${studio.modes.length === 1 ? "" : "s"}`, size].filter(Boolean).join(" · ");
  byId("report").hidden = !about.has_report;
  byId("remarks").replaceChildren(...about.remarks.map((text) => element("p", { className: "remark" }, text)));
}

// The views of a model, once it is there.
async function fill() {
  studio.columns = columnChoice(studio, () => { for (const view of Object.values(views)) view.columns?.(); });
  Object.assign(studio, { modes: studio.about.modes, leads: studio.about.leads });
  for (const [id, , make, waits] of tabs) {
    if (!waits) continue;
    byId(`panel-${id}`).replaceChildren();
    views[id] = make(byId(`panel-${id}`), studio);
  }
  await studio.said(studio.about);
}

async function begin() {
  buildTabs();
  byId("undo").addEventListener("click", () => step("undo"));
  byId("redo").addEventListener("click", () => step("redo"));
  byId("theme").addEventListener("click", nextTheme);
  let theme = "";
  try { theme = localStorage.getItem("unbraid-theme") ?? ""; } catch { /* as above */ }
  setTheme(theme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", redraw);
  addEventListener("focus", catchUp);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) catchUp(); });
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=text], input[type=number], textarea");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) {
      event.preventDefault();
      const verb = event.shiftKey ? "redo" : "undo", own = views[current]?.[verb];
      if (byId("edit").open) return;
      if (own) { if (!event.repeat) own(); } else step(verb);
    } else if (!usesKey(event) && !event.ctrlKey && !event.metaKey && !event.altKey && !byId("edit").open) {
      if (views[current]?.key?.(event)) event.preventDefault();
    }
  });
  try {
    studio.about = await get("/api/about");
  } catch (error) {
    byId("main").replaceChildren(element("p", { className: "empty" }, error.message));
    return;
  }
  const { about } = studio;
  head();
  if (about.has_model) await fill();
  else {
    for (const [id, , , waits] of tabs) if (waits) views[id] = waitingView(byId(`panel-${id}`), studio, waits);
    whenDone(async (now, isFirst) => {
      Object.assign(studio.about, now);
      head();
      if (!isFirst) return;
      const focused = document.activeElement;
      await fill();
      if (focused !== document.body && !focused.isConnected) byId(`tab-${current}`).focus(); // it was in what gave way
      say("The fit is done.");
    });
  }
  views.train = trainView(byId("panel-train"), studio);
  const wanted = location.hash.slice(1);
  const first = about.has_model ? (about.has_demos ? "demos" : "steer") : "train";
  show(tabs.some(([id]) => id === wanted) ? wanted : first);
  document.body.dataset.ready = "yes";
}

begin();
