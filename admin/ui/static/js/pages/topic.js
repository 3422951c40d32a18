// One topic: its figures over time, its channels, the brokers that have it, who publishes to it, and what can be done to it.
import { html } from "../lib/html.js";
import { bytes, count, plural, rate, short } from "../lib/format.js";
import { graphiteLink } from "../lib/graphite.js";
import { useView } from "../lib/live.js";
import { path } from "../lib/router.js";
import { ask } from "../parts/acts.js";
import { Channels } from "../parts/channels.js";
import { Charts } from "../parts/charts.js";
import { clientName, Traits } from "../parts/clients.js";
import { Age, Attention, Badge, Facts, Gone, Loading, NodeLink, NodeState, PageHead, Section, Tile, Warning } from "../parts/figures.js";
import { Latency } from "../parts/latency.js";
import { Table } from "../parts/table.js";

export function Topic({ topic, acts }) {
  const { data, gone } = useView({ view: "topic", topic });
  if (gone) return html`<${Gone} what="topic" name=${topic} />`;
  return html`<${PageHead} above=${html`<a href=${path.overview()}>Topics</a>`} title=${topic} badges=${data && html`<${State} data=${data} />`} tools=${acts && data && html`<${Tools} data=${data} />`} />
    ${data ? html`<${Body} data=${data} acts=${acts} />` : html`<${Loading} />`}`;
}

function State({ data }) {
  return html`${data.total.paused && html`<${Badge} kind="accent">paused</${Badge}>`}${data.topic.endsWith("#ephemeral") && html`<${Badge} title="goes with its last channel">ephemeral</${Badge}>`}
    ${data.durability && html`<${Badge} title="durability: when a publish is answered">${data.durability}</${Badge}>`}`;
}

function Tools({ data }) {
  const t = data.topic, nodes = data.nodes.filter((n) => !n.stale).map((n) => n.node);
  return html`<button type="button" class="primary" onClick=${() => ask.publish(t, nodes)}>Publish…</button>
    <button type="button" onClick=${() => ask.create(t)}>Create channel…</button>
    ${data.durability && html`<button type="button" onClick=${() => ask.durability(t, data.durability)}>Durability…</button>`}
    ${data.total.paused ? html`<button type="button" onClick=${() => ask.unpauseTopic(t)}>Unpause</button>` : html`<button type="button" onClick=${() => ask.pauseTopic(t)}>Pause…</button>`}
    <button type="button" class="risky" onClick=${() => ask.emptyTopic(t)}>Empty…</button>
    <button type="button" class="risky" onClick=${() => ask.deleteTopic(t)}>Delete…</button>`;
}

function Body({ data, acts }) {
  const t = data.total;
  return html`<${Warning} text=${data.warning} /><${Attention} items=${data.attention} told=${data.warning} />
    <div class="tiles">
      <${Tile} label="In" value=${rate(t.rate_in)} unit="/s" about=${`${count(t.message_count)} so far`} />
      <${Tile} label="Out" value=${rate(t.rate_out)} unit="/s" about="by all channels" />
      <${Tile} label="Depth" value=${count(t.depth)} about=${`${short(data.own_depth)} at the topic, ${short(t.backend_depth)} on disk`} />
      <${Tile} label="In flight" value=${count(t.in_flight)} about=${`${short(t.deferred)} deferred`} />
      <${Tile} label="Mean size" value=${t.message_count ? bytes(data.message_bytes / t.message_count) : "–"} about=${`${bytes(data.message_bytes)} in all`} />
    </div>
    <${Charts} of=${{ of: "topic", topic: data.topic }} now=${data.now} figures=${t} graphite=${graphiteLink(data.topic)} />
    <${Section} title="Channels" about=${count(data.channels.length)}>
      <${Channels} topic=${data.topic} channels=${data.channels} empty=${html`No channel yet: messages wait at the topic. A consumer that subscribes makes its channel${acts ? ", and so does Create channel" : ""}.`} /></${Section}>
    <${Section} title="Nodes" about=${count(data.nodes.length)}>
      <${Table} rows=${data.nodes} columns=${nodeColumns(data.topic, acts)} id=${(r) => r.node} caption="Nodes that have the topic" rowClass=${(r) => r.stale && "stale"}
        empty="No node has it: it is only known to lookups." /></${Section}>
    <${Section} title="Producers" about=${count(data.producers.length)}>
      <${Table} rows=${data.producers} columns=${producerColumns} id=${(r) => r.node + r.remote_address} sort=${{ key: "rate", down: true }} caption="Connections that publish to the topic"
        empty="No connected client has published to it. Publishing over HTTP leaves no connection to show." /></${Section}>
    ${data.e2e?.percentiles?.length > 0 && html`<${Section} title="Latency" about="from publish to finish"><${Latency} e2e=${data.e2e} /></${Section}>`}`;
}

const nodeColumns = (topic, acts) => [
  { key: "node", label: "Node", heads: true, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  { key: "state", label: "State", width: 150, phone: 72, value: (r) => (r.stale ? 2 : r.tombstoned ? 1 : 0), cell: (r) => html`<${NodeState} node=${r} />${r.paused && html`<${Badge} kind="accent">paused</${Badge}>`}` },
  { key: "in", label: "In/s", number: true, width: 84, value: (r) => r.rate_in, as: rate },
  { key: "depth", label: "At the topic", number: true, width: 110, wide: true, value: (r) => r.depth, as: count, hint: "messages that no channel has taken yet" },
  { key: "disk", label: "On disk", number: true, width: 96, wide: true, value: (r) => r.backend_depth, as: count },
  { key: "messages", label: "Messages", number: true, width: 116, wide: true, value: (r) => r.message_count, as: count },
  { key: "channels", label: "Channels", number: true, width: 94, wide: true, value: (r) => r.channels, as: count },
  { key: "durability", label: "Durability", width: 100, wide: true, value: (r) => r.durability, cell: (r) => r.durability || html`<span class="zero">–</span>` },
  ...(acts ? [{ key: "act", label: "", hint: "Acts", width: 130, class: "acts", wide: true, cell: (r) => html`<button type="button" class="small risky" aria-label=${`Tombstone ${r.node}`} onClick=${() => ask.tombstone(r.node, topic)}>Tombstone…</button>` }] : []),
];

const producerColumns = [
  { key: "client", label: "Client", heads: true, value: clientName, cell: (r) => html`<span title=${clientName(r)}>${clientName(r)}</span>` },
  { key: "address", label: "Address", width: 180, class: "mono", wide: true, value: (r) => r.remote_address, cell: (r) => r.remote_address },
  { key: "node", label: "Node", width: 180, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  { key: "rate", label: "Rate/s", number: true, width: 90, value: (r) => r.rate, as: rate },
  { key: "count", label: "Messages", number: true, width: 116, wide: true, value: (r) => r.count, as: count },
  { key: "connected", label: "Connected", number: true, width: 104, wide: true, value: (r) => -r.connect_ts, cell: (r) => html`<${Age} since=${r.connect_ts} />` },
  { key: "agent", label: "Library", width: 170, wide: true, value: (r) => r.user_agent, cell: (r) => html`<span title=${r.user_agent}>${r.user_agent}</span>` },
  { key: "traits", label: "", hint: "How it is connected", wide: true, width: 120, cell: (r) => html`<${Traits} client=${r} />` },
];
