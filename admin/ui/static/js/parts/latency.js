// Percentiles of the time from publish to finish, as brokers report them.
import { html } from "../lib/html.js";
import { nanoseconds, plural } from "../lib/format.js";

/** Latency shows each percentile: its mean over the nodes, and the span between them. */
export function Latency({ e2e }) {
  return html`<div class="tiles">${e2e.percentiles.map((p) => html`<div class="tile" key=${p.quantile}><span class="label">p${+(p.quantile * 100).toFixed(2)}</span>
    <span class="value">${nanoseconds(p.average)}</span><span class="about">${p.min === p.max ? `of ${plural(e2e.count, "message")}` : `${nanoseconds(p.min)} to ${nanoseconds(p.max)} over nodes`}</span></div>`)}</div>`;
}
