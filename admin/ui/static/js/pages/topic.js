// One topic: its figures over time, its channels, the brokers that have it, who publishes to it, and what can be done to it.
import { html } from "../lib/html.js";
import { bytes, count, plural, rate, short, visible } from "../lib/format.js";
import { graphiteLink } from "../lib/graphite.js";
import { useView } from "../lib/live.js";
import { path } from "../lib/router.js";
import { ask } from "../parts/acts.js";
import { Channels } from "../parts/channels.js";
import { Charts } from "../parts/charts.js";
import { clientName, connection } from "../parts/clients.js";
import { Attention, Badge, Gone, kept, Loading, Name, NodeLink, NodeState, PageHead, Role, Section, Tile } from "../parts/figures.js";
import { Options } from "../parts/options.js";
import { Latency } from "../parts/latency.js";
import { Letters } from "../parts/letters.js";
import { Table } from "../parts/table.js";
import { Tabs } from "../parts/tabs.js";

export function Topic({ topic, acts }) {
  const { data, gone } = useView({ view: "topic", topic });
  if (gone) return html`<${Gone} what="topic" name=${topic} />`;
  return html`<${PageHead} above=${html`<a href=${path.overview()}>Topics</a>`} title=${topic} badges=${data && html`<${State} data=${data} />`} tools=${acts && data && html`<${Tools} data=${data} />`} />
    <${Tabs} topic=${topic} at="figures" />
    ${data ? html`<${Body} data=${data} acts=${acts} />` : html`<${Loading} />`}`;
}

function State({ data }) {
  return html`${data.total.paused && html`<${Badge} kind="accent">paused</${Badge}>`}${data.topic.endsWith("#ephemeral") && html`<${Badge} title="goes with its last channel">ephemeral</${Badge}>`}
    ${data.nodes.some((n) => n.role) && html`<${Badge} title="several nodes of a cluster have every message: a preview">replicated</${Badge}>`}
    ${data.durability && html`<${Badge} title="durability: when a publish is answered">${visible(data.durability)}</${Badge}>`}`;
}

function Tools({ data }) {
  const t = data.topic, nodes = data.nodes.filter((n) => !n.stale).map((n) => n.node), replicated = data.nodes.some((n) => n.role);
  return html`<button type="button" class="primary" onClick=${() => ask.publish(t, nodes)}>Publish…</button>
    <button type="button" onClick=${() => ask.create(t)}>Create channel…</button>
    ${data.durability && !replicated && html`<button type="button" onClick=${() => ask.durability(t, data.durability)}>Durability…</button>`}
    ${data.total.paused ? html`<button type="button" onClick=${() => ask.unpauseTopic(t)}>Unpause</button>` : html`<button type="button" onClick=${() => ask.pauseTopic(t)}>Pause…</button>`}
    <button type="button" class="risky" onClick=${() => ask.emptyTopic(t)}>Empty…</button>
    <button type="button" class="risky" onClick=${() => ask.deleteTopic(t)}>Delete…</button>`;
}

function Body({ data, acts }) {
  const t = data.total, old = t.down && Math.max(1, data.age_ms), now = (n) => (t.down ? "–" : rate(n));
  const figures = { ...t, rate_out: t.slowest_rate_out }, many = t.channels > 1;
  return html`<${Attention} items=${data.attention} brief />
    <div class="tiles">
      <${Tile} label="In" value=${now(t.rate_in)} unit="/s" about=${`${count(t.message_count)} so far`} old=${old} />
      <${Tile} label="Out" value=${t.channels > 0 ? now(t.slowest_rate_out) : "–"} unit="/s" about=${t.channels === 0 ? "no channel" : many ? `slowest channel: ${visible(t.slowest)}` : "messages finished"} old=${old} />
      <${Tile} label="Depth" value=${count(t.depth)} about=${many && t.slowest_depth > 0 ? `${short(t.slowest_depth)} on ${visible(t.slowest)}` : kept(data.durability, t.depth, t.backend_depth)} old=${old} />
      <${Tile} label="In flight" value=${count(t.in_flight)} about=${`${short(t.deferred)} deferred`} old=${old} />
      <${Tile} label="Failing" value=${now(t.failing)} unit="/s" kind=${t.failing > 0 ? "warn" : ""} about=${`${rate(t.timeout_rate)}/s timed out, ${rate(t.requeue_rate)}/s requeued`} old=${old} />
      <${Tile} label="Mean size" value=${t.message_count ? bytes(data.message_bytes / t.message_count) : "–"} about=${`${bytes(data.message_bytes)} in all`} />
    </div>
    <${Charts} of=${{ of: "topic", topic: data.topic }} now=${data.now} figures=${t.down ? null : figures} graphite=${graphiteLink(data.topic)} labels=${many && { rate_out: "out, slowest channel" }} />
    <${Section} title="Channels" about=${count(data.channels.length)}>
      <${Channels} topic=${data.topic} channels=${data.channels} empty=${html`No channel yet: messages wait at the topic. A consumer that subscribes makes its channel${acts ? ", and so does Create channel" : ""}.`} /></${Section}>
    <${Section} title="Nodes" about=${count(data.nodes.length)}>
      <${Table} rows=${data.nodes} columns=${nodeColumns(data.topic, acts)} id=${(r) => r.node} caption="Nodes that have the topic" rowClass=${(r) => r.stale && "stale"}
        empty="No node has it: it is only known to lookups." /></${Section}>
    <${Letters} topic=${data.topic} />
    <${Options} topic=${data.topic} acts=${acts} />
    <${Section} title="Producers" about=${count(data.producers.length)}>
      <${Table} rows=${data.producers} columns=${producerColumns} id=${(r) => r.node + r.remote_address} sort=${{ key: "rate", down: true }} caption="Connections that publish to the topic"
        empty="No connected client has published to it. Publishing over HTTP leaves no connection to show." /></${Section}>
    ${data.e2e?.percentiles?.length > 0 && html`<${Section} title="Latency" about="from publish to finish"><${Latency} e2e=${data.e2e} /></${Section}>`}`;
}

const tombstone = (topic) => ({ key: "act", label: "", hint: "Acts", width: 130, class: "acts", drop: 5,
  cell: (r) => !r.role && html`<button type="button" class="small risky" aria-label=${`Tombstone ${visible(r.node)}`} onClick=${() => ask.tombstone(r.node, topic)}>Tombstone…</button>` });
const columnsOf = new Map();

/** nodeColumns are the same objects each time, so that rows stay as they are. */
function nodeColumns(topic, acts) {
  const key = topic + acts;
  if (!columnsOf.has(key)) columnsOf.clear(), columnsOf.set(key, acts ? [...nodes, tombstone(topic)] : nodes);
  return columnsOf.get(key);
}

const nodes = [
  { key: "node", label: "Node", heads: true, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  { key: "state", label: "State", width: 204, phone: 82, value: (r) => (r.stale ? 2 : r.tombstoned ? 1 : 0), cell: (r) => html`<${NodeState} node=${r} /><${Role} role=${r.role} />${r.paused && html`<${Badge} kind="accent">paused</${Badge}>`}` },
  { key: "in", label: "In/s", number: true, value: (r) => (r.stale ? null : r.rate_in), as: rate },
  { key: "depth", label: "At the topic", number: true, drop: 3, value: (r) => r.depth, as: count, hint: "messages that no channel has taken yet" },
  { key: "kept", label: "Kept", drop: 4, value: (r) => kept(r.durability, r.depth, r.backend_depth), cell: (r) => (r.durability || r.depth > 0 ? kept(r.durability, r.depth, r.backend_depth) : html`<span class="zero">–</span>`), hint: "what a crash leaves of the messages here" },
  { key: "messages", label: "Messages", number: true, drop: 2, value: (r) => r.message_count, as: count, hint: "published since the node started" },
  { key: "channels", label: "Channels", number: true, drop: 6, value: (r) => r.channels, as: count },
];

const { address, node, connected, library, how } = connection;
const producerColumns = [
  { key: "client", label: "Client", heads: true, value: clientName, text: (r) => visible(clientName(r)), cell: (r) => html`<span title=${visible(clientName(r))}><${Name}>${clientName(r)}</${Name}></span>` },
  address, node,
  { key: "rate", label: "Rate/s", number: true, value: (r) => r.rate, as: rate },
  { key: "count", label: "Messages", number: true, drop: 2, value: (r) => r.count, as: count },
  connected, library, how,
];
