// The whole cluster: totals, what needs attention, and every topic.
import { html, useMemo, useState } from "../lib/html.js";
import { count, plural, rate, short, visible } from "../lib/format.js";
import { useHistory, useSpark } from "../lib/history.js";
import { useTopics } from "../lib/live.js";
import { path } from "../lib/router.js";
import { ask } from "../parts/acts.js";
import { Attention, Badge, Loading, Name, Section, Tile, TopicLink, Warning } from "../parts/figures.js";
import { FirstSteps } from "../parts/first.js";
import { Spark } from "../parts/spark.js";
import { Table } from "../parts/table.js";

export function Overview({ acts, session }) {
  const { data, rows } = useTopics();
  const history = useHistory({ of: "total" }, "10m", data?.now, data?.totals.stale ? null : data?.totals);
  if (!data || !rows) return html`<h1 class="sr">Overview</h1><${Loading} />`;
  const told = data.attention.some((a) => a.kind === "node_stale" || a.kind === "lookup_failing"); // the warning would say it again
  return html`<h1 class="sr">Overview</h1>${!told && html`<${Warning} text=${data.warning} />`}
    ${rows.length > 0 && html`<${Totals} totals=${data.totals} series=${history.series} well=${data.attention.length === 0 && !data.warning} />`}
    ${data.attention.length > 0 && html`<${Section} title="Needs attention" about=${count(data.attention.length)}>
      <${Attention} items=${data.attention} more=${data.attention_more} /></${Section}>`}
    ${rows.length === 0 ? html`<${FirstSteps} nodes=${data.nodes} session=${session} acts=${acts} />` : html`<${Topics} rows=${rows} acts=${acts} />`}`;
}

function Totals({ totals: t, series, well }) {
  const old = t.stale && Math.max(1, t.age_ms), now = (n) => (t.stale ? "–" : rate(n));
  return html`<div class="tiles">
      <${Tile} label="In" value=${now(t.rate_in)} unit="/s" values=${series.rate_in} about="messages published" old=${old} />
      <${Tile} label="Out" value=${now(t.rate_out)} unit="/s" values=${series.rate_out} about=${t.channels === 1 ? "messages finished" : `finished, ${count(t.channels)} channels together`} old=${old} />
      <${Tile} label="Depth" value=${count(t.depth)} values=${series.depth} about=${waiting(t)} old=${old} />
      <${Tile} label="In flight" value=${count(t.in_flight)} values=${series.in_flight} about=${t.deferred ? `${short(t.deferred)} deferred` : "with consumers"} old=${old} />
      <${Tile} label="Failing" value=${now(t.failing)} unit="/s" values=${series.failing} kind=${t.failing > 0 ? "warn" : ""}
        about=${`${rate(t.timeout_rate)}/s timed out, ${rate(t.requeue_rate)}/s requeued`} old=${old} />
    </div>
    <p class="census"><span>${plural(t.topics, "topic")}</span><span>${plural(t.channels, "channel")}</span>
      <a href=${path.consumers()}>${plural(t.clients, "consumer")}</a>
      <a href=${path.nodes()}>${plural(t.nodes, "node")}${t.stale_nodes > 0 && html` <b class="bad">${t.stale_nodes} down</b>`}</a>
      ${t.lookups > 0 && html`<a href=${path.lookup()}>${plural(t.lookups, "lookup")}${t.failing_lookups > 0 && html` <b class="bad">${t.failing_lookups} failing</b>`}</a>`}${well && html`<span class="well">nothing needs attention</span>`}</p>`;
}

/** waiting says where most of what waits is. */
function waiting(t) {
  if (t.on_stale > 0) return `${short(t.on_stale)} of them on nodes that are down`;
  if (t.deepest.depth > 0) return `most on ${visible(t.deepest.topic)} / ${visible(t.deepest.channel)}`;
  return "messages waiting";
}

const known = (value) => (r) => (r.down ? null : value(r));
const columns = [
  { key: "topic", label: "Topic", heads: true, value: (r) => r.topic, text: (r) => visible(r.topic), more: 76, cell: (r) => html`<${TopicLink} topic=${r.topic} /><${Marks} row=${r} />` },
  { key: "in", label: "In/s", number: true, value: known((r) => r.rate_in), as: rate, hint: "messages published per second" },
  { key: "out", label: "Out/s", number: true, drop: 1, value: known((r) => (r.channels > 0 ? r.slowest_rate_out : null)), as: rate,
    hint: "messages finished per second on the slowest channel: the one on which the most messages wait" },
  { key: "spark", label: "Trend", hint: "messages in, last 5 minutes", width: 116, drop: 4, class: "of-spark", cell: (r) => html`<${Trend} topic=${r.topic} />` },
  { key: "depth", label: "Depth", number: true, value: (r) => r.depth, as: count, hint: "messages that wait, at the topic and on all its channels" },
  { key: "slowest", label: "Slowest channel", drop: 8, value: (r) => r.slowest_depth, text: (r) => (r.slowest_depth > 0 ? visible(r.slowest) : ""), hint: "the channel on which the most messages wait",
    cell: (r) => (r.slowest_depth > 0 ? html`<a href=${path.channel(r.topic, r.slowest)} title=${`${visible(r.slowest)}: ${plural(r.slowest_depth, "message")} behind`}><${Name}>${r.slowest}</${Name}></a>` : html`<span class="zero">–</span>`) },
  { key: "flight", label: "In flight", number: true, drop: 5, value: (r) => r.in_flight, as: count },
  { key: "deferred", label: "Deferred", number: true, drop: 7, value: (r) => r.deferred, as: count },
  { key: "failing", label: "Failing/s", number: true, drop: 6, value: known((r) => r.failing), as: rate, hint: "messages timed out or requeued per second" },
  { key: "channels", label: "Channels", number: true, drop: 6, value: (r) => r.channels, as: count },
  { key: "clients", label: "Consumers", number: true, drop: 3, value: (r) => r.clients, as: count },
  { key: "nodes", label: "Nodes", number: true, drop: 9, value: (r) => r.nodes, as: count },
  { key: "messages", label: "Messages", number: true, drop: 9, value: (r) => r.message_count, as: count, hint: "published since the nodes started" },
];

const Trend = ({ topic }) => html`<${Spark} values=${useSpark(topic)} label="messages in, last 5 minutes" />`;

function Marks({ row }) {
  return html`${row.attention > 0 && html`<${Badge} kind="warning" title="needs attention">!</${Badge}>`}
    ${row.paused && html`<${Badge} kind="accent">paused</${Badge}>`}
    ${row.down ? html`<${Badge} kind="bad" title="no node that has it answers">down</${Badge}>` : row.stale && html`<${Badge} title="a node that has it does not answer: its figures there are old">partial</${Badge}>`}
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
