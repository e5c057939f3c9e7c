// Talks to the server. Every refusal is said on the page, in the server's own words.

const box = document.getElementById("said");
let hiding = 0;

export function say(text, isError = false) {
  box.textContent = text;
  box.className = isError ? "shown error" : "shown";
  clearTimeout(hiding);
  hiding = setTimeout(() => { box.className = ""; }, isError ? 8000 : 3500);
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
  return read(await fetch(url));
}

export async function post(path, body) {
  const told = body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return read(await fetch(path, { method: "POST", ...told }));
}

export async function blob(path, query) {
  const response = await fetch(`${path}?${new URLSearchParams(query)}`);
  if (!response.ok) await read(response);
  return response.blob();
}

export async function copy(text, what) {
  try { await navigator.clipboard.writeText(text); say(`${what} is copied.`); } catch { say("The browser keeps its clipboard shut; mark the text on the page and copy it."); }
}
