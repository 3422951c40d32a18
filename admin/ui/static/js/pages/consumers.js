// Who consumes: every connection, and all connections of one consumer.
import { html, useMemo, useState } from "../lib/html.js";
import { count, plural, rate, visible } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { path } from "../lib/router.js";
import { Clients, clientName } from "../parts/clients.js";
import { Age, Facts, Gone, Loading, PageHead, Section, Tile, Warning } from "../parts/figures.js";

export function Consumers() {
  const { data } = useView({ view: "consumers" });
  const [text, setText] = useState("");
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = useMemo(() => data?.clients.filter((c) => {
    const hay = [clientName(c), c.remote_address, c.topic, c.channel, c.node, c.user_agent].join(" ").toLowerCase();
    return words.every((w) => hay.includes(w));
  }), [data, text]);
  if (!data || data.pending) return html`<${PageHead} title="Consumers" /><${Loading} />`;
  const total = data.clients.length;
  const tools = html`<input class="filter" type="search" placeholder="Filter by name, address, topic, node" aria-label="Filter consumers" value=${text} onInput=${(e) => setText(e.target.value)} />`;
  return html`<${PageHead} title="Consumers" badges=${html`<span class="muted">${shown.length === total ? plural(total, "connection") : `${count(shown.length)} of ${plural(total, "connection")}`}</span>`} tools=${tools} />
    <${Warning} text=${data.warning} />${data.more > 0 && html`<p class="note">The first ${plural(total, "connection")}; ${count(data.more)} more ${data.more === 1 ? "is" : "are"} on their channels' pages.</p>`}
    <${Clients} clients=${shown} kind="all" caption="Connections that consume" empty=${text ? `None has “${text}” in it.` : "Nobody consumes. A client subscribes to a topic and channel, pointed at a lookup or a node."} />`;
}

export function Consumer({ client }) {
  const { data } = useView({ view: "consumers" });
  const own = useMemo(() => data?.clients.filter((c) => clientName(c) === client), [data, client]);
  if (data && !data.pending && own.length === 0) return html`<${Gone} what="consumer" name=${client} />`;
  const head = html`<${PageHead} above=${html`<a href=${path.consumers()}>Consumers</a>`} title=${client} />`;
  if (!data || data.pending) return html`${head}<${Loading} />`;
  const sum = (f) => own.reduce((n, c) => n + (f(c) || 0), 0);
  const unique = (f) => [...new Set(own.map(f).filter(Boolean))].map(visible);
  return html`${head}<${Warning} text=${data.warning} />
    <div class="tiles">
      <${Tile} label="Finished" value=${rate(sum((c) => c.finish_rate))} unit="/s" about=${`${count(sum((c) => c.finish_count))} so far`} />
      <${Tile} label="In flight" value=${count(sum((c) => c.in_flight_count))} about=${`wants up to ${count(sum((c) => c.ready_count))}`} />
      <${Tile} label="Requeued" value=${rate(sum((c) => c.requeue_rate))} unit="/s" about=${`${count(sum((c) => c.requeue_count))} so far`} />
      <${Tile} label="Timed out" value=${rate(sum((c) => c.timeout_rate))} unit="/s" kind=${sum((c) => c.timeout_rate) > 0 ? "warn" : ""} about=${`${count(sum((c) => c.timeout_count))} so far`} />
      <${Tile} label="Connections" value=${count(own.length)} about=${`to ${plural(unique((c) => c.node).length, "node")}`} />
    </div>
    <${Section} title="About"><${Facts} items=${[["Host", unique((c) => c.hostname).join(", ")], ["Client id", unique((c) => c.client_id).join(", ")], ["Library", unique((c) => c.user_agent).join(", ")],
      ["Connected", html`<${Age} since=${Math.min(...own.map((c) => c.connect_ts))} />`], ["Signed in as", unique((c) => c.auth_identity).join(", ")]]} /></${Section}>
    <${Section} title="Subscriptions" about=${count(own.length)}><${Clients} clients=${own} kind="one" caption=${`Subscriptions of ${client}`} /></${Section}>`;
}
