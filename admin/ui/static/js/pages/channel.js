// One channel: what waits, what is out, what fails, over time, per broker and per client.
import { html } from "../lib/html.js";
import { count, rate } from "../lib/format.js";
import { graphiteLink } from "../lib/graphite.js";
import { useView } from "../lib/live.js";
import { path } from "../lib/router.js";
import { ask } from "../parts/acts.js";
import { channelFigures } from "../parts/channels.js";
import { Charts } from "../parts/charts.js";
import { Clients } from "../parts/clients.js";
import { Attention, Badge, Gone, kept, Loading, NodeLink, NodeState, PageHead, Role, Section, Tile, TopicLink } from "../parts/figures.js";
import { Account } from "../parts/account.js";
import { DeadLetters } from "../parts/deadletters.js";
import { Options } from "../parts/options.js";
import { Latency } from "../parts/latency.js";
import { Messages } from "../parts/messages.js";
import { Table } from "../parts/table.js";
import { Tabs } from "../parts/tabs.js";

export function Channel({ topic, channel, acts }) {
  const { data, gone } = useView({ view: "channel", topic, channel });
  if (gone) return html`<${Gone} what="channel" name=${`${topic} / ${channel}`} />`;
  const above = html`<a href=${path.overview()}>Topics</a><${TopicLink} topic=${topic} />`;
  return html`<${PageHead} above=${above} title=${channel} badges=${data && html`<${State} data=${data} />`} tools=${acts && data && html`<${Tools} data=${data} />`} />
    <${Tabs} topic=${topic} channel=${channel} at="figures" />
    ${data ? html`<${Body} data=${data} acts=${acts} />` : html`<${Loading} />`}`;
}

function State({ data }) {
  return html`${data.total.paused && html`<${Badge} kind="accent">paused</${Badge}>`}${data.channel.endsWith("#ephemeral") && html`<${Badge} title="goes with its last consumer">ephemeral</${Badge}>`}`;
}

function Tools({ data: { topic, channel, total, durability, dead_letters: dead } }) {
  return html`${dead?.running.length > 0 ? html`<button type="button" onClick=${() => ask.stopRedrive(topic, channel)}>Stop sending back</button>`
      : dead && html`<button type="button" onClick=${() => ask.redrive(topic, channel)}>Send back…</button>`}
    ${total.paused ? html`<button type="button" onClick=${() => ask.unpauseChannel(topic, channel)}>Unpause</button>`
      : html`<button type="button" onClick=${() => ask.pauseChannel(topic, channel)}>Pause…</button>`}
    ${durability && durability !== "memory" && html`<button type="button" onClick=${() => ask.rewind(topic, channel)}>Rewind…</button>
    <button type="button" class="risky" onClick=${() => ask.skip(topic, channel)}>Skip…</button>`}
    <button type="button" class="risky" onClick=${() => ask.emptyChannel(topic, channel)}>Empty…</button>
    <button type="button" class="risky" onClick=${() => ask.deleteChannel(topic, channel)}>Delete…</button>`;
}

function Body({ data, acts }) {
  const t = data.total, old = t.down && Math.max(1, data.age_ms), now = (n) => (t.down ? "–" : rate(n));
  return html`<${Attention} items=${data.attention} brief />
    <div class="tiles">
      <${Tile} label="Depth" value=${count(t.depth)} about=${kept(data.durability, t.depth, t.backend_depth)} old=${old} />
      <${Tile} label="In flight" value=${count(t.in_flight)} about="with consumers" old=${old} />
      <${Tile} label="Deferred" value=${count(t.deferred)} about="until later" old=${old} />
      <${Tile} label="Out" value=${now(t.rate_out)} unit="/s" about=${`${rate(t.rate_in)}/s come in`} old=${old} />
      <${Tile} label="Requeued" value=${now(t.requeue_rate)} unit="/s" kind=${t.requeue_rate > 0 ? "warn" : ""} about=${`${count(t.requeue_count)} so far`} old=${old} />
      <${Tile} label="Timed out" value=${now(t.timeout_rate)} unit="/s" kind=${t.timeout_rate > 0 ? "warn" : ""} about=${`${count(t.timeout_count)} so far`} old=${old} />
    </div>
    <${Charts} of=${{ of: "channel", topic: data.topic, channel: data.channel }} now=${data.now} figures=${t.down ? null : t} graphite=${graphiteLink(data.topic, data.channel)} />
    <${Section} title="Consumers" about=${count(data.clients.length)}>
      <${Clients} clients=${data.clients} kind="channel" caption=${`Consumers of ${data.channel}`} empty="No consumer is connected: messages wait until one subscribes." /></${Section}>
    <${Section} title="Nodes" about=${count(data.nodes.length)}>
      <${Table} rows=${data.nodes} columns=${nodeColumns} id=${(r) => r.node} caption="Nodes that have the channel" rowClass=${(r) => r.stale && "stale"} empty="No node has it." /></${Section}>
    ${t.deferred > 0 && html`<${Messages} topic=${data.topic} channel=${data.channel} state="deferred" acts=${acts} />`}
    <${Options} topic=${data.topic} channel=${data.channel} acts=${acts} />
    ${data.accounting && html`<${Section} title="Every message" about="what became of it"><${Account} of=${data.accounting} /></${Section}>`}
    ${data.dead_letters && html`<${Section} title="Dead letters" about="delivered too often"><${DeadLetters} of=${data.dead_letters} discarded=${data.accounting?.discarded ?? {}} /></${Section}>`}
    <${Section} title="Latency" about="from publish to finish">
      ${t.e2e?.percentiles?.length > 0 ? html`<${Latency} e2e=${t.e2e} />`
        : html`<p class="empty">Brokers report it when started with, for example, <code>--e2e-processing-latency-percentile=0.5,0.99</code> and <code>--e2e-processing-latency-window-time=10m</code>.</p>`}</${Section}>`;
}

const nodeColumns = [
  { key: "node", label: "Node", heads: true, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  { key: "state", label: "State", width: 204, phone: 82, value: (r) => (r.stale ? 1 : 0), cell: (r) => html`<${NodeState} node=${r} /><${Role} role=${r.role} />${r.paused && html`<${Badge} kind="accent">paused</${Badge}>`}` },
  ...channelFigures,
];
