// The lookups, and what only they still know.
import { html } from "../lib/html.js";
import { count, seconds, visible } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { may } from "../lib/session.js";
import { ask } from "../parts/acts.js";
import { Badge, Loading, Name, PageHead, Section, TopicLink, Warning } from "../parts/figures.js";
import { Table } from "../parts/table.js";

export function Lookup({ acts, session }) {
  const { data } = useView({ view: "lookups" });
  const tools = acts && html`<button type="button" onClick=${() => ask.create()}>Create topic or channel…</button>`;
  if (!data) return html`<${PageHead} title="Lookup" /><${Loading} />`;
  return html`<${PageHead} title="Lookup" tools=${session.mode === "lookupd" && tools} /><${Warning} text=${data.warning} />
    ${session.mode === "lookupd" ? html`<${Table} rows=${data.lookups} columns=${columns} id=${(r) => r.address} caption="Lookups" rowClass=${(r) => !r.ok && "stale"} />`
      : html`<p class="empty">admind was given brokers, not lookups. Start it with <code>--lookupd-http-address</code> to follow lookups.</p>`}
    ${session.mode === "lookupd" && html`<${Section} title="Inactive topics" about="known to lookups, on no node">
      <${Table} rows=${data.inactive} columns=${inactive[acts]} id=${(r) => r.topic} caption="Inactive topics" empty="None: each topic that lookups know is on some node." /></${Section}>`}`;
}

const columns = [
  { key: "address", label: "Lookup", heads: true, class: "mono", value: (r) => r.address, cell: (r) => html`<span title=${r.address}>${r.address}</span>` },
  { key: "state", label: "State", text: (r) => (r.ok ? "" : `failing--- ${r.error}`), value: (r) => (r.ok ? 0 : 1), cell: (r) => r.ok ? html`<${Badge}>ok</${Badge}>`
    : html`<${Badge} kind="bad">failing</${Badge}> <span title=${visible(r.error)}><${Name}>${r.error}</${Name}></span>` },
  { key: "age", label: "Answered", number: true, drop: 3, value: (r) => r.age_ms, text: () => "59m 59s ago", cell: (r) => (r.age_ms < 0 ? "never" : `${seconds(r.age_ms / 1000)} ago`) },
  { key: "version", label: "Version", drop: 4, value: (r) => r.version, cell: (r) => html`<${Name}>${r.version}</${Name}>` },
  { key: "nodes", label: "Nodes", drop: 2, number: true, value: (r) => r.nodes, as: count },
  { key: "topics", label: "Topics", drop: 2, number: true, value: (r) => r.topics, as: count },
];

const ofInactive = (acts) => [
  { key: "topic", label: "Topic", heads: true, value: (r) => r.topic, cell: (r) => html`<${TopicLink} topic=${r.topic} />` },
  { key: "channels", label: "Channels", text: (r) => r.channels.map((c) => c + "-----").join(""), cell: (r) => r.channels.length === 0 ? html`<span class="zero">none</span>` : r.channels.map((c) => html`<span class="pair" key=${c}><${Name}>${c}</${Name}>
    ${acts && may("manages", r.topic) && html`<button type="button" class="plain small" aria-label=${`Delete channel ${visible(c)} of ${visible(r.topic)}`} title="Delete channel" onClick=${() => ask.deleteChannel(r.topic, c, { leave: false })}>✕</button>`}</span>`) },
  ...(acts ? [{ key: "act", label: "", hint: "Acts", width: 100, class: "acts", cell: (r) => may("manages", r.topic) && html`<button type="button" class="small risky" aria-label=${`Delete ${visible(r.topic)}`} onClick=${() => ask.deleteTopic(r.topic, { leave: false })}>Delete…</button>` }] : []),
];

const inactive = { true: ofInactive(true), false: ofInactive(false) };
