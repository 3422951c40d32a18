// One channel: what waits, what is out, what fails, over time, per broker and per client.
import { html } from "../lib/html.js";
import { count, rate, short } from "../lib/format.js";
import { graphiteLink } from "../lib/graphite.js";
import { useView } from "../lib/live.js";
import { path } from "../lib/router.js";
import { ask } from "../parts/acts.js";
import { channelFigures } from "../parts/channels.js";
import { Charts } from "../parts/charts.js";
import { Clients } from "../parts/clients.js";
import { Attention, Badge, Gone, Loading, NodeLink, NodeState, PageHead, Section, Tile, TopicLink, Warning } from "../parts/figures.js";
import { Latency } from "../parts/latency.js";
import { Table } from "../parts/table.js";

export function Channel({ topic, channel, acts }) {
  const { data, gone } = useView({ view: "channel", topic, channel });
  if (gone) return html`<${Gone} what="channel" name=${`${topic} / ${channel}`} />`;
  const above = html`<a href=${path.overview()}>Topics</a><${TopicLink} topic=${topic} />`;
  return html`<${PageHead} above=${above} title=${channel} badges=${data && html`<${State} data=${data} />`} tools=${acts && data && html`<${Tools} data=${data} />`} />
    ${data ? html`<${Body} data=${data} />` : html`<${Loading} />`}`;
}

function State({ data }) {
  return html`${data.total.paused && html`<${Badge} kind="accent">paused</${Badge}>`}${data.channel.endsWith("#ephemeral") && html`<${Badge} title="goes with its last consumer">ephemeral</${Badge}>`}`;
}

function Tools({ data: { topic, channel, total } }) {
  return html`${total.paused ? html`<button type="button" onClick=${() => ask.unpauseChannel(topic, channel)}>Unpause</button>`
      : html`<button type="button" onClick=${() => ask.pauseChannel(topic, channel)}>Pause…</button>`}
    <button type="button" class="risky" onClick=${() => ask.emptyChannel(topic, channel)}>Empty…</button>
    <button type="button" class="risky" onClick=${() => ask.deleteChannel(topic, channel)}>Delete…</button>`;
}

function Body({ data }) {
  const t = data.total;
  return html`<${Warning} text=${data.warning} /><${Attention} items=${data.attention} told=${data.warning} />
    <div class="tiles">
      <${Tile} label="Depth" value=${count(t.depth)} about=${t.backend_depth ? `${short(t.backend_depth)} on disk` : "messages waiting"} />
      <${Tile} label="In flight" value=${count(t.in_flight)} about="with consumers" />
      <${Tile} label="Deferred" value=${count(t.deferred)} about="until later" />
      <${Tile} label="Out" value=${rate(t.rate_out)} unit="/s" about=${`${rate(t.rate_in)}/s come in`} />
      <${Tile} label="Requeued" value=${rate(t.requeue_rate)} unit="/s" kind=${t.requeue_rate > 0 ? "warn" : ""} about=${`${count(t.requeue_count)} so far`} />
      <${Tile} label="Timed out" value=${rate(t.timeout_rate)} unit="/s" kind=${t.timeout_rate > 0 ? "warn" : ""} about=${`${count(t.timeout_count)} so far`} />
    </div>
    <${Charts} of=${{ of: "channel", topic: data.topic, channel: data.channel }} now=${data.now} figures=${t} graphite=${graphiteLink(data.topic, data.channel)} />
    <${Section} title="Consumers" about=${count(data.clients.length)}>
      <${Clients} clients=${data.clients} kind="channel" caption=${`Consumers of ${data.channel}`} empty="No consumer is connected: messages wait until one subscribes." /></${Section}>
    <${Section} title="Nodes" about=${count(data.nodes.length)}>
      <${Table} rows=${data.nodes} columns=${nodeColumns} id=${(r) => r.node} caption="Nodes that have the channel" rowClass=${(r) => r.stale && "stale"} empty="No node has it." /></${Section}>
    <${Section} title="Latency" about="from publish to finish">
      ${t.e2e?.percentiles?.length > 0 ? html`<${Latency} e2e=${t.e2e} />`
        : html`<p class="empty">Brokers report it when started with, for example, <code>--e2e-processing-latency-percentile=0.5,0.99</code> and <code>--e2e-processing-latency-window-time=10m</code>.</p>`}</${Section}>`;
}

const nodeColumns = [
  { key: "node", label: "Node", heads: true, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  { key: "state", label: "State", width: 150, phone: 72, value: (r) => (r.stale ? 1 : 0), cell: (r) => html`<${NodeState} node=${r} />${r.paused && html`<${Badge} kind="accent">paused</${Badge}>`}` },
  ...channelFigures.map((c) => (c.key === "clients" ? { ...c, wide: true } : c)),
];
