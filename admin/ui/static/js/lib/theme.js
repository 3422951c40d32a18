// Light and dark. The system's wish counts until the viewer chooses; the choice is kept in this browser.
// boot.js applies a kept choice before the first paint.

const key = "admind.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();

/** current returns "light" or "dark", as shown now. */
export function current() {
  return document.documentElement.dataset.theme || (system.matches ? "dark" : "light");
}

/** toggle shows the other one, and remembers it unless it is what the system wants anyway. */
export function toggle() {
  const next = current() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    if (next === (system.matches ? "dark" : "light")) localStorage.removeItem(key);
    else localStorage.setItem(key, next);
  } catch { /* storage is barred: the choice holds for this page */ }
  changed();
}

/** onChange calls f whenever colours change; it returns how to stop that. */
export function onChange(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

/** color reads a colour of the style sheet, for canvases. */
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function changed() { for (const f of listeners) f(); }
system.addEventListener("change", changed);
