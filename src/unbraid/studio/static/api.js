// Talks to the server. Every refusal is said on the page, in the server's own words.

const box = document.getElementById("said");
let hiding = 0;

export function say(text, isError = false) {
  box.textContent = text;
  box.className = isError ? "shown error" : "shown";
  clearTimeout(hiding);
  hiding = setTimeout(() => { box.className = ""; }, isError ? 8000 : 3500);
}

export const GONE = "The studio no longer answers; start it again.";

// A browser says of a server that is gone no more than "Failed to fetch".
async function reach(url, how) {
  try { return await fetch(url, how); } catch { throw new Error(GONE); }
}

async function read(response) {
  if (response.ok) return response.json();
  const text = await response.text();
  let told = text;
  try { told = JSON.parse(text).error ?? text; } catch { /* it was no JSON: the text is the message */ }
  throw new Error(told || `The server said ${response.status}.`);
}

export async function get(path, query = {}) {
  const url = new URL(path, location.href);
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null) continue;
    for (const one of Array.isArray(value) ? value : [value]) url.searchParams.append(name, one);
  }
  return read(await reach(url));
}

export async function post(path, body) {
  const told = body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return read(await reach(path, { method: "POST", ...told }));
}

export async function blob(path, query) {
  const response = await reach(`${path}?${new URLSearchParams(query)}`);
  if (!response.ok) await read(response);
  return response.blob();
}

export async function copy(text, what) {
  try { await navigator.clipboard.writeText(text); say(`${what} is copied.`); } catch { say("The browser keeps its clipboard shut; mark the text on the page and copy it."); }
}
