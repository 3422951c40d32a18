// What became of every message of a channel.
import { html } from "../lib/html.js";
import { count, plural, visible } from "../lib/format.js";

/** Account shows the sum: what was accepted is what was finished, discarded, waits, is in flight or deferred. */
export function Account({ of: a }) {
  const discarded = Object.entries(a.discarded).filter(([, n]) => n > 0).sort(([, x], [, y]) => y - x);
  const parts = [["Finished", a.finished], ...discarded.map(([reason, n]) => [`Discarded: ${visible(reason).replace(/_/g, " ")}`, n]), ["Waiting", a.waiting], ["In flight", a.in_flight], ["Deferred", a.deferred]];
  const shown = parts.filter(([, n], i) => n > 0 || i === 0);
  return html`<div class="account">
    ${a.unbalanced.length > 0 && html`<p class="note bad" role="alert">This does not add up on ${a.unbalanced.map(visible).join(", ")}: please report it, with what the node's log says.</p>`}
    <div class="bars" role="img" aria-label=${`Of ${count(a.accepted)} accepted: ${shown.map(([what, n]) => `${what.toLowerCase()} ${count(n)}`).join(", ")}`}>
      ${shown.filter(([, n]) => n > 0).map(([what, n]) => html`<i key=${what} class=${kind(what)} style=${{ flexGrow: n }} />`)}</div>
    <dl class="sum"><div><dt>Accepted</dt><dd>${count(a.accepted)}</dd></div><div class="is"><dd aria-hidden="true">=</dd></div>
      ${shown.map(([what, n]) => html`<div key=${what}><dt><i class=${"swatch " + kind(what)} />${what}</dt><dd>${count(n)}</dd></div>`)}</dl>
    <p class="muted">On ${plural(a.nodes, "node")}, since the channel was made; at durability memory since the node was started.</p></div>`;
}

const kind = (what) => what.startsWith("Discarded") ? "bad" : { Finished: "done", Waiting: "accent", "In flight": "teal", Deferred: "violet" }[what];
