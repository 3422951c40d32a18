// Messages that a channel holds, one by one, with what can be done to each.
import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { esc } from "../lib/router.js";
import { bytes, count, moment, seconds, visible } from "../lib/format.js";
import { ask } from "./acts.js";
import { NodeLink, Section } from "./figures.js";
import { Table } from "./table.js";

const every = 15000;
const titles = { deferred: "Deferred" };

/** Messages lists the first messages of each node that a channel has in a state. With acts they can be cancelled and released. */
export function Messages({ topic, channel, state, acts }) {
  const [told, setTold] = useState(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    let again = 0;
    const look = async () => {
      try { setTold(await get(`messages/${esc(topic)}/${esc(channel)}`, { state }, stop.signal)); } catch { /* what it said before stands */ }
      if (!stop.signal.aborted) again = setTimeout(look, every);
    };
    look();
    return () => { stop.abort(); clearTimeout(again); };
  }, [topic, channel, state, turn]);
  const columns = useMemo(() => (acts ? [...about, deeds(topic, channel, () => setTurn((n) => n + 1))] : about), [topic, channel, acts]);
  if (!told || told.list.length + told.errors.length === 0) return null;
  return html`<${Section} title=${titles[state]} about=${told.list.length < told.total ? `the next ${count(told.list.length)} of ${count(told.total)}` : count(told.total)}>
    ${told.errors.map((text) => html`<p class="note bad" role="alert" key=${text}>${visible(text)}</p>`)}
    <${Table} rows=${told.list} columns=${columns} id=${(r) => `${r.node} ${r.position ?? r.id}`} caption="Deferred messages, by when they are due" empty="None." /></${Section}>`;
}

const due = (r) => moment(Date.parse(r.due) / 1000);
const about = [
  { key: "due", label: "Due", value: (r) => r.due, text: due, cell: due },
  { key: "id", label: "ID", heads: true, value: (r) => r.id, text: (r) => r.id, cell: (r) => html`<span class="mono">${visible(r.id)}</span>` },
  { key: "position", label: "Position", number: true, drop: 6, value: (r) => r.position ?? 0, as: count, hint: "in its topic; none at level memory" },
  { key: "attempts", label: "Attempts", number: true, drop: 5, value: (r) => r.attempts, as: count, hint: "deliveries so far" },
  { key: "age", label: "Age", number: true, drop: 7, value: (r) => r.age, as: (ms) => seconds(ms / 1000), hint: "since it was published" },
  { key: "size", label: "Size", number: true, drop: 8, value: (r) => r.size, as: bytes },
  { key: "node", label: "Node", drop: 3, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
];

/** deeds is the column of buttons. A message at level memory has no position, and so no name by which it could be meant. */
const deeds = (topic, channel, then) => ({ key: "act", label: "", hint: "Acts", width: 170, class: "acts", drop: 4, cell: (r) => r.position && html`
  <button type="button" class="small" aria-label=${`Release ${r.id}`} title="deliver it now" onClick=${() => ask.releaseMessage(topic, channel, r, then)}>Release</button>
  <button type="button" class="small risky" aria-label=${`Cancel ${r.id}`} title="drop it" onClick=${() => ask.cancelMessage(topic, channel, r, then)}>Cancel…</button>` });
