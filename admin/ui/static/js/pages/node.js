// One broker: its health, its load over time, and the topics it has.
import { html } from "../lib/html.js";
import { bytes, count, plural, rate, seconds, short } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { path } from "../lib/router.js";
import { ask } from "../parts/acts.js";
import { Charts } from "../parts/charts.js";
import { Age, Attention, Badge, Facts, Gone, Loading, NodeState, PageHead, Section, Tile, TopicLink, Warning } from "../parts/figures.js";
import { Table } from "../parts/table.js";
import { DiskFree } from "./nodes.js";

export function Node({ node, acts }) {
  const { data, gone } = useView({ view: "node", node });
  if (gone) return html`<${Gone} what="node" name=${node} />`;
  return html`<${PageHead} above=${html`<a href=${path.nodes()}>Nodes</a>`} title=${node} badges=${data && html`<${NodeState} node=${data.node} />`} />
    ${data ? html`<${Body} data=${data} acts=${acts} />` : html`<${Loading} />`}`;
}

function Body({ data, acts }) {
  const n = data.node;
  return html`${n.stale ? html`<p class="note bad" role="status">This node does not answer. ${n.age_ms < 0 ? "It never has" : `What is shown is ${seconds(n.age_ms / 1000)} old`}${n.error && ` (${n.error})`}.</p>`
      : html`<${Warning} text=${data.warning} />`}
    ${!n.stale && n.healthy === false && html`<p class="note bad">${n.health}</p>`}
    <${Attention} items=${data.attention} told=${n.stale} />
    <div class="tiles">
      <${Tile} label="In" value=${rate(n.rate_in)} unit="/s" about="messages published" />
      <${Tile} label="Out" value=${rate(n.rate_out)} unit="/s" about="messages finished" />
      <${Tile} label="Depth" value=${count(n.depth)} about=${n.backend_depth ? `${short(n.backend_depth)} on disk` : "messages waiting"} />
      <${Tile} label="In flight" value=${count(n.in_flight)} about=${`${short(n.deferred)} deferred`} />
      <${Tile} label="Consumers" value=${count(n.clients)} about=${plural(n.producers, "producer")} />
    </div>
    <${Charts} of=${{ of: "node", node: n.node }} now=${data.now} figures=${n} />
    <${Section} title="About"><${Facts} items=${facts(n)} /></${Section}>
    <${Section} title="Topics" about=${count(data.topics.length)}>
      <${Table} rows=${data.topics} columns=${columns(n.node, acts)} id=${(r) => r.topic} caption="Topics on this node" empty=${html`No topic. Publish to it: <code>curl -d 'first message' 'http://${n.node}/pub?topic=hello'</code>`} /></${Section}>`;
}

function facts(n) {
  return [
    ["Version", html`${n.kind} ${n.version}${n.out_of_date && html` <${Badge} kind="warning" title="another node has a newer one">old</${Badge}>`}`],
    ["Host", n.hostname], ["TCP", `${n.broadcast_address}:${n.tcp_port}`], ["HTTP", `${n.broadcast_address}:${n.http_port}`],
    ["Region and zone", [n.topology_region, n.topology_zone].filter(Boolean).join(" / ")],
    ["Up", n.start_time && !n.stale ? html`<${Age} since=${n.start_time} />` : null],
    ["Heap in use", n.memory && bytes(n.memory.heap_in_use_bytes)], ["Heap objects", n.memory && count(n.memory.heap_objects)],
    ["GC pause, p99", n.memory && `${count(n.memory.gc_pause_usec_99)} µs`], ["GC runs", n.memory && count(n.memory.gc_total_runs)],
    ["Disk free", n.disk && html`<${DiskFree} disk=${n.disk} /> of ${bytes(n.disk.total_bytes)}`],
    ["Lookups", n.lookups?.join(", ")],
  ];
}

const number = (key, label, width, value, more) => ({ key, label, width, number: true, value, as: count, ...more });
const columns = (node, acts) => [
  { key: "topic", label: "Topic", heads: true, value: (r) => r.topic, cell: (r) => html`<${TopicLink} topic=${r.topic} />${r.tombstoned && html`<${Badge} kind="warning">tombstoned</${Badge}>`}${r.paused && html`<${Badge} kind="accent">paused</${Badge}>`}` },
  { key: "in", label: "In/s", width: 80, number: true, value: (r) => r.rate_in, as: rate },
  { key: "out", label: "Out/s", width: 80, number: true, wide: true, value: (r) => r.rate_out, as: rate },
  number("depth", "Depth", 96, (r) => r.depth), number("disk", "On disk", 92, (r) => r.backend_depth, { wide: true }), number("flight", "In flight", 90, (r) => r.in_flight, { wide: true }),
  number("channels", "Channels", 94, (r) => r.channels, { wide: true }), number("clients", "Consumers", 104, (r) => r.clients, { wide: true }), number("messages", "Messages", 116, (r) => r.message_count, { wide: true }),
  ...(acts ? [{ key: "act", label: "", hint: "Acts", width: 130, class: "acts", wide: true, cell: (r) => html`<button type="button" class="small risky" aria-label=${`Tombstone ${r.topic}`} onClick=${() => ask.tombstone(node, r.topic)}>Tombstone…</button>` }] : []),
];
