// The table of connections that consume.
import { html, useMemo } from "../lib/html.js";
import { count, rate, seconds, visible } from "../lib/format.js";
import { path } from "../lib/router.js";
import { Age, Badge, ChannelLink, Name, NodeLink, TopicLink } from "./figures.js";
import { Table } from "./table.js";

/** clientName is what a consumer is known by across its connections: its host, and its own id where that differs. */
export function clientName(c) {
  if (!c.client_id || c.client_id === c.hostname || c.hostname?.startsWith(c.client_id + ".")) return c.hostname || c.client_id || c.remote_address;
  return c.hostname ? `${c.client_id}@${c.hostname}` : c.client_id;
}

/** traits are how a client is connected: [text, hint]. */
function traits(c) {
  return [c.tls && ["TLS", `${c.tls_version} ${c.tls_cipher_suite}`], c.snappy && ["snappy"], c.deflate && ["deflate"], c.sample_rate > 0 && [`${c.sample_rate}%`, "gets a sample of the messages"],
    c.authed && [c.auth_identity || "authed", "signed in by the auth daemon"], c.topology_zone && [c.topology_zone, "zone"], c.topology_region && [c.topology_region, "region"]].filter(Boolean);
}

/** how is the column of a client's traits, and library that of its user agent. */
const how = { key: "traits", label: "Link", hint: "how it is connected", drop: 9, value: (r) => traits(r).map(([t]) => t).join(" "), text: (r) => traits(r).map(([t]) => visible(t) + "----").join(""),
  cell: (r) => traits(r).map(([text, hint]) => html`<${Badge} key=${text} title=${hint && visible(hint)}><${Name}>${text}</${Name}></${Badge}>`) };
const library = { key: "agent", label: "Library", drop: 8, value: (r) => r.user_agent, cell: (r) => html`<span title=${visible(r.user_agent)}><${Name}>${r.user_agent}</${Name}></span>` };

/** connection are the columns that every connection has: publishing or consuming. */
export const connection = {
  address: { key: "address", label: "Address", drop: 7, class: "mono", value: (r) => r.remote_address, cell: (r) => html`<span title=${visible(r.remote_address)}><${Name}>${r.remote_address}</${Name}></span>` },
  node: { key: "node", label: "Node", drop: 3, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  connected: { key: "connected", label: "Connected", number: true, drop: 6, value: (r) => -r.connect_ts, text: () => "23h 59m", cell: (r) => html`<${Age} since=${r.connect_ts} />` },
  library, how,
};

const number = (key, label, value, more) => ({ key, label, number: true, value, as: count, ...more });

/** stuck says of a client that it has messages and answers none. */
const stuck = (c) => c.stuck_ms > 0 && html`<${Badge} kind="warning" title=${`has ${count(c.in_flight_count)} in flight and has answered none for ${seconds(c.stuck_ms / 1000)}`}>stuck</${Badge}>`;

const who = { key: "client", label: "Consumer", heads: true, value: clientName, text: (r) => visible(clientName(r)), more: 0,
  cell: (r) => html`<a href=${path.consumer(clientName(r))} title=${visible(clientName(r))}><${Name}>${clientName(r)}</${Name}></a>${stuck(r)}` };
const topic = { key: "topic", label: "Topic", value: (r) => r.topic, cell: (r) => html`<${TopicLink} topic=${r.topic} />` };
const channel = { key: "channel", label: "Channel", drop: 2, value: (r) => r.channel, cell: (r) => html`<${ChannelLink} topic=${r.topic} channel=${r.channel} />` };
const rated = (r, n) => (r.rated ? n : null);
const figures = [
  number("ready", "RDY", (r) => r.ready_count, { hint: "how many messages it wants at once", drop: 5 }),
  number("flight", "In flight", (r) => r.in_flight_count, { drop: 1 }),
  { key: "finish", label: "Finished/s", number: true, value: (r) => rated(r, r.finish_rate), as: rate },
  { key: "requeue", label: "Requeued/s", number: true, drop: 4, value: (r) => rated(r, r.requeue_rate), as: rate },
  { key: "timeout", label: "Timed out/s", number: true, drop: 4, value: (r) => rated(r, r.timeout_rate), as: rate },
  number("finished", "Finished", (r) => r.finish_count, { drop: 5, hint: "since it connected" }),
  number("timeouts", "Timed out", (r) => r.timeout_count, { drop: 6, hint: "since it connected: sent to it, and not answered in time" }),
];

const { address, node, connected } = connection;
const kinds = {
  channel: [who, address, node, ...figures, connected, library, how],
  all: [who, topic, channel, node, ...figures, connected],
  one: [{ ...topic, heads: true, cell: (r) => html`<${TopicLink} topic=${r.topic} />${stuck(r)}`, more: 60 }, { ...channel, drop: 0 }, address, node, ...figures, connected, library, how],
};

/** Clients lists connections: kind is "channel" (of one channel), "all", or "one" (of one consumer). */
export function Clients({ clients, kind, caption, empty }) {
  const columns = useMemo(() => kinds[kind].filter((c) => c !== how || clients.some((r) => traits(r).length > 0)).map((c) => (c === who ? { ...c, more: clients.some((r) => r.stuck_ms > 0) ? 60 : 0 } : c)),
    [kind, clients.some((r) => traits(r).length > 0), clients.some((r) => r.stuck_ms > 0)]);
  return html`<${Table} rows=${clients} columns=${columns} caption=${caption} empty=${empty} rowClass=${(r) => r.stuck_ms > 0 && "stuck"}
    id=${(r) => `${r.node} ${r.remote_address} ${r.topic ?? ""} ${r.channel ?? ""}`} sort=${{ key: kinds[kind][0].key, down: false }} />`;
}
