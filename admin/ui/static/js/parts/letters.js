// The dead letters of a topic, with what is known of each. A topic that has none shows nothing.
import { html, useEffect, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { bytes, count, instant, visible } from "../lib/format.js";
import { path } from "../lib/router.js";
import { Name, NodeLink, Section } from "./figures.js";
import { Table } from "./table.js";

const every = 15000;

/** Letters lists the first dead letters of each node. */
export function Letters({ topic }) {
  const [told, setTold] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    let again = 0;
    const ask = async () => {
      try { setTold(await get("letters", { topic }, stop.signal)); } catch { /* what it said before stands */ }
      if (!stop.signal.aborted) again = setTimeout(ask, every);
    };
    ask();
    return () => { stop.abort(); clearTimeout(again); };
  }, [topic]);
  if (!told || told.nodes.length === 0) return null;
  return html`<${Section} title="Dead letters" about=${told.more.length > 0 ? `the first ${count(told.list.length)}` : count(told.list.length)}>
    ${told.errors.map((text) => html`<p class="note bad" role="alert" key=${text}>${visible(text)}</p>`)}
    <${Table} rows=${told.list} columns=${columns} id=${(r) => r.node + r.position} caption="Dead letters that wait, or are with consumers" empty="None waits." /></${Section}>`;
}

const of = (r, name) => r.properties?.["dead_letter." + name] ?? "";
const at = (name) => ({ value: (r) => of(r, name), text: (r) => instant(of(r, name)), cell: (r) => html`<span title=${visible(of(r, name))}>${instant(of(r, name))}</span>` });
const reason = (r) => visible([of(r, "reason"), of(r, "failure")].filter(Boolean).join(": ").replace(/_/g, " "));
const text = (name) => ({ value: (r) => of(r, name), cell: (r) => html`<${Name}>${of(r, name)}</${Name}>` });
const columns = [
  { key: "from", label: "From", heads: true, value: (r) => of(r, "topic") + "/" + of(r, "channel"), text: (r) => visible(of(r, "topic") + " / " + of(r, "channel")),
    cell: (r) => html`<a href=${path.channel(of(r, "topic"), of(r, "channel"))}><${Name}>${of(r, "topic") + " / " + of(r, "channel")}</${Name}></a>` },
  { key: "reason", label: "Reason", value: (r) => of(r, "reason"), text: reason, cell: reason },
  { key: "attempts", label: "Attempts", number: true, value: (r) => Number(of(r, "attempts")), as: count },
  { key: "rounds", label: "Rounds", number: true, drop: 3, value: (r) => Number(of(r, "rounds")), as: count, hint: "how often it has become a dead letter" },
  { key: "consumer", label: "Last consumer", drop: 4, ...text("consumer") },
  { key: "moved", label: "Came", drop: 2, ...at("moved") },
  { key: "published", label: "Published", drop: 5, ...at("time") },
  { key: "id", label: "ID", drop: 6, value: (r) => of(r, "id"), cell: (r) => html`<span class="mono">${visible(of(r, "id"))}</span>`, hint: "that it had when it was published" },
  { key: "size", label: "Size", number: true, drop: 7, value: (r) => r.size, as: bytes },
  { key: "node", label: "Node", drop: 1, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
];
