// The lookups, and what only they still know.
import { html } from "../lib/html.js";
import { count, seconds } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { ask } from "../parts/acts.js";
import { Badge, Loading, PageHead, Section, TopicLink, Warning } from "../parts/figures.js";
import { Table } from "../parts/table.js";

export function Lookup({ acts, session }) {
  const { data } = useView({ view: "lookups" });
  const tools = acts && html`<button type="button" onClick=${() => ask.create()}>Create topic or channel…</button>`;
  if (!data) return html`<${PageHead} title="Lookup" /><${Loading} />`;
  return html`<${PageHead} title="Lookup" tools=${session.mode === "lookupd" && tools} /><${Warning} text=${data.warning} />
    ${session.mode === "lookupd" ? html`<${Table} rows=${data.lookups} columns=${columns} id=${(r) => r.address} caption="Lookups" rowClass=${(r) => !r.ok && "stale"} />`
      : html`<p class="empty">admind was given brokers, not lookups. Start it with <code>--lookupd-http-address</code> to follow lookups.</p>`}
    ${session.mode === "lookupd" && html`<${Section} title="Inactive topics" about="known to lookups, on no node">
      <${Table} rows=${data.inactive} columns=${inactive(acts)} id=${(r) => r.topic} caption="Inactive topics" empty="None: each topic that lookups know is on some node." /></${Section}>`}`;
}

const columns = [
  { key: "address", label: "Lookup", heads: true, class: "mono", value: (r) => r.address, cell: (r) => html`<span title=${r.address}>${r.address}</span>` },
  { key: "state", label: "State", width: 330, value: (r) => (r.ok ? 0 : 1), cell: (r) => r.ok ? html`<${Badge}>ok</${Badge}>`
    : html`<${Badge} kind="bad">failing</${Badge}> <span title=${r.error}>${r.error}</span>` },
  { key: "age", label: "Asked", width: 110, number: true, wide: true, value: (r) => r.age_ms, cell: (r) => `${seconds(r.age_ms / 1000)} ago` },
  { key: "version", label: "Version", width: 110, wide: true, value: (r) => r.version, cell: (r) => r.version },
  { key: "nodes", label: "Nodes", width: 90, number: true, wide: true, value: (r) => r.nodes, as: count },
  { key: "topics", label: "Topics", width: 90, number: true, wide: true, value: (r) => r.topics, as: count },
];

const inactive = (acts) => [
  { key: "topic", label: "Topic", heads: true, value: (r) => r.topic, cell: (r) => html`<${TopicLink} topic=${r.topic} />` },
  { key: "channels", label: "Channels", cell: (r) => r.channels.length === 0 ? html`<span class="zero">none</span>` : r.channels.map((c) => html`<span class="pair" key=${c}>${c}
    ${acts && html`<button type="button" class="plain small" aria-label=${`Delete channel ${c} of ${r.topic}`} title="Delete channel" onClick=${() => ask.deleteChannel(r.topic, c, { leave: false })}>✕</button>`}</span>`) },
  ...(acts ? [{ key: "act", label: "", hint: "Acts", width: 100, class: "acts", cell: (r) => html`<button type="button" class="small risky" aria-label=${`Delete ${r.topic}`} onClick=${() => ask.deleteTopic(r.topic, { leave: false })}>Delete…</button>` }] : []),
];
