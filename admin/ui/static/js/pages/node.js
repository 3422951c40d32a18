// One broker: its health, its load over time, and the topics it has.
import { html } from "../lib/html.js";
import { bytes, count, plural, rate, seconds, short, visible } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { path } from "../lib/router.js";
import { ask } from "../parts/acts.js";
import { Charts } from "../parts/charts.js";
import { Age, Attention, Badge, Facts, Gone, Loading, Name, NodeState, PageHead, Role, Section, Tile, TopicLink, Warning } from "../parts/figures.js";
import { may } from "../lib/session.js";
import { Settings } from "../parts/settings.js";
import { Table } from "../parts/table.js";
import { DiskFree } from "./nodes.js";

export function Node({ node, acts, session }) {
  const { data, gone } = useView({ view: "node", node });
  if (gone) return html`<${Gone} what="node" name=${node} />`;
  return html`<${PageHead} above=${html`<a href=${path.nodes()}>Nodes</a>`} title=${node} badges=${data && html`<${NodeState} node=${data.node} />`}
    tools=${session.runs && data?.node.may_dismiss && html`<button type="button" class="risky" onClick=${() => ask.dismiss(node)}>Dismiss…</button>`} />
    ${data ? html`<${Body} data=${data} acts=${acts} runs=${session.runs} />` : html`<${Loading} />`}`;
}

function Body({ data, acts, runs }) {
  const n = data.node, old = n.stale && n.error !== "no lookup names it" && Math.max(1, n.age_ms), now = (v) => (old ? "–" : rate(v));
  return html`${old ? html`<${Dead} node=${n} topics=${data.topics.filter((t) => left(t) > 0).length} />` : html`<${Warning} text=${data.warning} />`}
    <${Attention} items=${data.attention.filter((a) => a.kind !== "node_stale")} />
    <div class="tiles">
      <${Tile} label="In" value=${now(n.rate_in)} unit="/s" about="messages published" old=${old} />
      <${Tile} label="Out" value=${now(n.rate_out)} unit="/s" about=${n.channels > 1 ? `finished, ${count(n.channels)} channels together` : "messages finished"} old=${old} />
      <${Tile} label="Depth" value=${count(n.depth)} about=${n.kind === "nsqd" && n.depth ? `${short(n.backend_depth)} on disk, the rest in memory` : "messages waiting"} old=${old} />
      <${Tile} label="In flight" value=${count(n.in_flight)} about=${`${short(n.deferred)} deferred`} old=${old} />
      <${Tile} label="Failing" value=${now(n.failing)} unit="/s" kind=${n.failing > 0 ? "warn" : ""} about=${`${rate(n.timeout_rate)}/s timed out, ${rate(n.requeue_rate)}/s requeued`} old=${old} />
      <${Tile} label="Consumers" value=${count(n.clients)} about=${plural(n.producers, "producer")} old=${old} />
    </div>
    <${Charts} of=${{ of: "node", node: n.node }} now=${data.now} figures=${old ? null : n} />
    <${Section} title="About"><${Facts} items=${facts(n)} /></${Section}>
    ${runs && !n.stale && html`<${Settings} node=${n.node} />`}
    <${Section} title="Topics" about=${count(data.topics.length)}>
      <${Table} rows=${data.topics} columns=${columns(n.node, acts && !n.stale)} id=${(r) => r.topic} caption="Topics on this node" empty=${html`No topic. Publish to it: <code>curl -d 'first message' 'http://${visible(n.node)}/pub?topic=hello'</code>`} /></${Section}>`;
}

const left = (t) => t.depth + t.in_flight + t.deferred;

/** Dead says of a node that does not answer what was on it last. */
function Dead({ node: n, topics }) {
  if (n.age_ms < 0) return html`<p class="note bad" role="status">This node has never answered (<${Name}>${n.error}</${Name}>).</p>`;
  const waiting = left(n);
  return html`<p class="note bad" role="status">This node does not answer (<${Name}>${n.error}</${Name}>). What is shown is ${seconds(n.age_ms / 1000)} old.
    ${waiting > 0 ? ` ${plural(waiting, "message")} on ${plural(topics, "topic")} ${waiting === 1 ? "was" : "were"} not finished. What was on its disk is still there, and comes back when the node is started again.` : " Nothing waited on it."}</p>`;
}

function facts(n) {
  return [
    ["Version", html`${n.kind} <${Name}>${n.version}</${Name}>${n.out_of_date && html` <${Badge} kind="warning" title="another node has a newer one">old</${Badge}>`}`],
    ["Host", visible(n.hostname)], ["TCP", html`<${Name}>${`${n.broadcast_address}:${n.tcp_port}`}</${Name}>`], ["HTTP", html`<${Name}>${`${n.broadcast_address}:${n.http_port}`}</${Name}>`],
    ["Region and zone", [n.topology_region, n.topology_zone].filter(Boolean).map(visible).join(" / ")],
    ["Up", n.start_time && !n.stale ? html`<${Age} since=${n.start_time} />` : null],
    ["Heap in use", n.memory && bytes(n.memory.heap_in_use_bytes)], ["Heap objects", n.memory && count(n.memory.heap_objects)],
    ["GC pause, p99", n.memory && `${count(n.memory.gc_pause_usec_99)} µs`], ["GC runs", n.memory && count(n.memory.gc_total_runs)],
    ["Disk free", n.disk && html`<${DiskFree} disk=${n.disk} /> of ${bytes(n.disk.total_bytes)}`],
    ["Set aside", n.set_aside > 0 ? html`<span class="bad" title="They are damaged, or nobody knows them: see the folder set-aside in the node's data folder, and its log">${count(n.set_aside)} ${n.set_aside === 1 ? "file" : "files"}</span>` : null],
    ["Lookups", n.lookups?.map(visible).join(", ")],
  ];
}

const number = (key, label, value, more) => ({ key, label, number: true, value, as: count, ...more });
const known = (value) => (r) => (r.stale ? null : value(r));
const topics = [
  { key: "topic", label: "Topic", heads: true, more: 80, value: (r) => r.topic, text: (r) => visible(r.topic), cell: (r) => html`<${TopicLink} topic=${r.topic} /><${Role} role=${r.role} />${r.tombstoned && html`<${Badge} kind="warning">tombstoned</${Badge}>`}${r.paused && html`<${Badge} kind="accent">paused</${Badge}>`}` },
  { key: "in", label: "In/s", number: true, value: known((r) => r.rate_in), as: rate },
  { key: "out", label: "Out/s", number: true, drop: 4, value: known((r) => r.rate_out), as: rate, hint: "messages finished per second, all channels together" },
  number("depth", "Depth", (r) => r.depth), number("flight", "In flight", (r) => r.in_flight, { drop: 3 }),
  { key: "failing", label: "Failing/s", number: true, drop: 6, value: known((r) => r.failing), as: rate, hint: "messages timed out or requeued per second" },
  number("channels", "Channels", (r) => r.channels, { drop: 6 }), number("clients", "Consumers", (r) => r.clients, { drop: 5 }), number("messages", "Messages", (r) => r.message_count, { drop: 7 }),
];
const columnsOf = new Map();

/** columns are the same objects each time, so that rows stay as they are. */
function columns(node, acts) {
  const key = node + acts;
  if (!columnsOf.has(key)) columnsOf.clear(), columnsOf.set(key, acts ? [...topics, tombstone(node)] : topics);
  return columnsOf.get(key);
}

const tombstone = (node) => ({ key: "act", label: "", hint: "Acts", width: 130, class: "acts", drop: 8,
  cell: (r) => !r.role && may("manages", r.topic) && html`<button type="button" class="small risky" aria-label=${`Tombstone ${visible(r.topic)}`} onClick=${() => ask.tombstone(node, r.topic)}>Tombstone…</button>` });
