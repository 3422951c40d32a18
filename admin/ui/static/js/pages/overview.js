// The whole cluster: totals, what needs attention, and every topic.
import { html, useMemo, useState } from "../lib/html.js";
import { count, plural, rate, short } from "../lib/format.js";
import { useHistory, useSpark } from "../lib/history.js";
import { useTopics } from "../lib/live.js";
import { path } from "../lib/router.js";
import { ask } from "../parts/acts.js";
import { Attention, Badge, Loading, Section, Tile, TopicLink, Warning } from "../parts/figures.js";
import { Spark } from "../parts/spark.js";
import { Table } from "../parts/table.js";

export function Overview({ acts, session }) {
  const { data, rows } = useTopics();
  const history = useHistory({ of: "total" }, "10m", data?.now, data?.totals);
  if (!data || !rows) return html`<h1 class="sr">Overview</h1><${Loading} />`;
  const told = data.attention.some((a) => a.kind === "node_stale" || a.kind === "lookup_failing"); // the warning would say it again
  return html`<h1 class="sr">Overview</h1>${!told && html`<${Warning} text=${data.warning} />`}
    <${Totals} totals=${data.totals} series=${history.series} />
    ${data.attention.length > 0 && html`<${Section} title="Needs attention" about=${count(data.attention.length + (data.attention_more ?? 0))}>
      <${Attention} items=${data.attention} more=${data.attention_more} /></${Section}>`}
    ${rows.length === 0 ? html`<${NoTopics} data=${data} session=${session} acts=${acts} />` : html`<${Topics} rows=${rows} acts=${acts} />`}`;
}

function Totals({ totals: t, series }) {
  return html`<div class="tiles">
      <${Tile} label="In" value=${rate(t.rate_in)} unit="/s" values=${series.rate_in} about="messages published" />
      <${Tile} label="Out" value=${rate(t.rate_out)} unit="/s" values=${series.rate_out} about="messages finished" />
      <${Tile} label="Depth" value=${count(t.depth)} values=${series.depth} about=${t.backend_depth ? `${short(t.backend_depth)} on disk` : "messages waiting"} />
      <${Tile} label="In flight" value=${count(t.in_flight)} values=${series.in_flight} about=${t.deferred ? `${short(t.deferred)} deferred` : "with consumers"} />
      <${Tile} label="Failing" value=${rate(t.timeout_rate + t.requeue_rate)} unit="/s" kind=${t.timeout_rate + t.requeue_rate > 0 ? "warn" : ""}
        about=${`${rate(t.timeout_rate)}/s timed out, ${rate(t.requeue_rate)}/s requeued`} />
    </div>
    <p class="census"><span>${plural(t.topics, "topic")}</span><span>${plural(t.channels, "channel")}</span>
      <a href=${path.consumers()}>${plural(t.clients, "consumer")}</a>
      <a href=${path.nodes()}>${plural(t.nodes, "node")}${t.stale_nodes > 0 && html` <b class="bad">${t.stale_nodes} stale</b>`}</a>
      ${t.lookups > 0 && html`<a href=${path.lookup()}>${plural(t.lookups, "lookup")}${t.failing_lookups > 0 && html` <b class="bad">${t.failing_lookups} failing</b>`}</a>`}</p>`;
}

const columns = [
  { key: "topic", label: "Topic", heads: true, value: (r) => r.topic, cell: (r) => html`<${TopicLink} topic=${r.topic} /><${Marks} row=${r} />` },
  { key: "in", label: "In/s", number: true, width: 80, value: (r) => r.rate_in, as: rate, hint: "messages published per second" },
  { key: "out", label: "Out/s", number: true, width: 80, value: (r) => r.rate_out, as: rate, hint: "messages finished per second, by all channels" },
  { key: "spark", label: "Trend", hint: "messages in, last 10 minutes", width: 116, wide: true, class: "of-spark", cell: (r) => html`<${Trend} topic=${r.topic} />` },
  { key: "depth", label: "Depth", number: true, width: 96, value: (r) => r.depth, as: count, hint: "messages that wait, at the topic and on its channels" },
  { key: "flight", label: "In flight", number: true, width: 90, wide: true, value: (r) => r.in_flight, as: count },
  { key: "deferred", label: "Deferred", number: true, width: 92, wide: true, value: (r) => r.deferred, as: count },
  { key: "channels", label: "Channels", number: true, width: 94, wide: true, value: (r) => r.channels, as: count },
  { key: "clients", label: "Consumers", number: true, width: 104, wide: true, value: (r) => r.clients, as: count },
  { key: "nodes", label: "Nodes", number: true, width: 78, wide: true, value: (r) => r.nodes, as: count },
  { key: "messages", label: "Messages", number: true, width: 116, wide: true, value: (r) => r.message_count, as: count, hint: "published since the nodes started" },
];

const Trend = ({ topic }) => html`<${Spark} values=${useSpark(topic)} label="messages in, last 10 minutes" />`;

function Marks({ row }) {
  return html`${row.attention > 0 && html`<${Badge} kind="warning" title="needs attention">!</${Badge}>`}
    ${row.paused && html`<${Badge} kind="accent">paused</${Badge}>`}
    ${row.stale && html`<${Badge} title="a node that has it does not answer">stale</${Badge}>`}
    ${row.nodes === 0 && html`<${Badge} title="known to lookups, on no node">no node</${Badge}>`}`;
}

const topicOf = (r) => r.topic;
const kinds = [["all", "All", () => true], ["busy", "Busy", (r) => r.rate_in > 0 || r.rate_out > 0], ["waiting", "Waiting", (r) => r.depth > 0],
  ["attention", "Attention", (r) => r.attention > 0 || r.stale], ["paused", "Paused", (r) => r.paused]];

function Topics({ rows, acts }) {
  const [text, setText] = useState("");
  const [kind, setKind] = useState("all");
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const keep = kinds.find(([k]) => k === kind)[2];
  const shown = useMemo(() => (words.length === 0 && kind === "all" ? rows
    : rows.filter((r) => keep(r) && words.every((w) => r.topic.toLowerCase().includes(w)))), [rows, text, kind]);
  const tools = html`<div class="filters" role="group" aria-label="Which topics">${kinds.map(([k, label]) => html`<button type="button" key=${k} class="chip" aria-pressed=${k === kind} onClick=${() => setKind(k)}>${label}</button>`)}</div>
    <input class="filter" type="search" placeholder="Filter topics" aria-label="Filter topics" value=${text} onInput=${(e) => setText(e.target.value)} />
    ${acts && html`<button type="button" onClick=${() => ask.create()}>Create topic</button>`}`;
  return html`<${Section} title="Topics" about=${shown.length === rows.length ? count(rows.length) : `${count(shown.length)} of ${count(rows.length)}`} tools=${tools}>
    <${Table} rows=${shown} columns=${columns} id=${topicOf} sort=${{ key: "topic", down: false }} caption="Topics"
      empty=${text ? `No topic has “${text}” in its name.` : "No topic is like that now."} /></${Section}>`;
}

function NoTopics({ data, session, acts }) {
  const node = data.nodes[0];
  if (!node) {
    return html`<div class="blank"><h2>No broker yet</h2><p>${session.mode === "lookupd"
      ? html`None has registered with ${session.lookups.join(", ")}. Start one that does:` : "None of the brokers that admind was given has answered."}</p>
      ${session.mode === "lookupd" && html`<pre><code>brokerd --lookupd-tcp-address=LOOKUP:4160</code></pre>`}</div>`;
  }
  return html`<div class="blank"><h2>No topic yet</h2><p>The first message makes one:</p>
    <pre><code>curl -d 'first message' 'http://${node.node}/pub?topic=hello'</code></pre>
    ${acts && html`<p><button type="button" onClick=${() => ask.create()}>Create topic</button></p>`}</div>`;
}
