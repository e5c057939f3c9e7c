// A page that is opened while a fit goes on: each tab says what will be there, and opens by itself when the model is.

import { get } from "./api.js";
import { element } from "./marks.js";

const EVERY_MS = 2000;

export function waitingView(panel, studio, what) {
  panel.replaceChildren(element("div", { className: "empty waiting", role: "status" },
    element("p", {}, element("b", {}, "There is no model yet.")),
    element("p", {}, `${what} This tab opens by itself when the fit is done.`),
    element("p", {}, element("button", { type: "button", on: { click: () => studio.open("train") } }, "See how the fit goes"))));
  return {};
}

// Asks until there is a model, and on until there is a report of it.
export function whenDone(arrived) {
  let told = false;
  async function ask() {
    const about = await get("/api/about").catch(() => null); // a server that is gone may come back
    if (about?.has_model) { await arrived(about, !told); told = true; }
    if (!about?.has_report || !told) setTimeout(ask, EVERY_MS);
  }
  setTimeout(ask, EVERY_MS);
}
