// What became of an act: said at the foot of the page, and to screen readers. Good news leaves by itself, the rest when it was read.
import { html, useEffect, useState } from "../lib/html.js";

let list = [], last = 0;
const listeners = new Set();

function change(next) {
  list = next;
  for (const f of listeners) f(list);
}

/** notify shows a text: kind is "good", "warning" or "bad"; results, of an act, tell what each node answered. */
export function notify(kind, text, results = []) {
  const id = ++last;
  change([...list.slice(-4), { id, kind, text, failed: results.filter((r) => !r.ok) }]);
  if (kind === "good") setTimeout(() => dismiss(id), 6000);
}

function dismiss(id) { change(list.filter((n) => n.id !== id)); }

/** Notices is the place where they appear. */
export function Notices() {
  const [shown, setShown] = useState(list);
  useEffect(() => {
    listeners.add(setShown);
    return () => listeners.delete(setShown);
  }, []);
  return html`<div class="notices" role="status" aria-live="polite">${shown.map((n) => html`<div key=${n.id} class=${"notice " + n.kind}>
    <div><p>${n.text}</p>${n.failed.length > 0 && html`<ul>${n.failed.map((r) => html`<li key=${r.node}><b>${r.node}</b> ${r.error}</li>`)}</ul>`}</div>
    <button type="button" class="plain" onClick=${() => dismiss(n.id)} aria-label="Dismiss">✕</button></div>`)}</div>`;
}
