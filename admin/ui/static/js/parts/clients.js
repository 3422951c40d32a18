// The table of connections that consume.
import { html } from "../lib/html.js";
import { count, rate } from "../lib/format.js";
import { path } from "../lib/router.js";
import { Age, Badge, ChannelLink, NodeLink, TopicLink } from "./figures.js";
import { Table } from "./table.js";

/** clientName is what a consumer is known by across its connections: its host, and its own id where that differs. */
export function clientName(c) {
  if (!c.client_id || c.client_id === c.hostname || c.hostname?.startsWith(c.client_id + ".")) return c.hostname || c.client_id || c.remote_address;
  return c.hostname ? `${c.client_id}@${c.hostname}` : c.client_id;
}

/** Traits are badges for how a client is connected. */
export function Traits({ client: c }) {
  return html`${c.tls && html`<${Badge} title=${`${c.tls_version} ${c.tls_cipher_suite}`}>TLS</${Badge}>`}${c.snappy && html`<${Badge}>snappy</${Badge}>`}
    ${c.deflate && html`<${Badge}>deflate</${Badge}>`}${c.sample_rate > 0 && html`<${Badge} title="gets a sample of the messages">${c.sample_rate}%</${Badge}>`}
    ${c.authed && html`<${Badge} title="signed in by the auth daemon">${c.auth_identity || "authed"}</${Badge}>`}
    ${c.topology_zone && html`<${Badge} title="zone">${c.topology_zone}</${Badge}>`}${c.topology_region && html`<${Badge} title="region">${c.topology_region}</${Badge}>`}`;
}

const number = (key, label, width, value, more) => ({ key, label, width, number: true, value, as: count, ...more });

const who = { key: "client", label: "Consumer", heads: true, value: clientName, cell: (r) => html`<a href=${path.consumer(clientName(r))}>${clientName(r)}</a>` };
const address = { key: "address", label: "Address", width: 170, wide: true, class: "mono", value: (r) => r.remote_address, cell: (r) => r.remote_address };
const topic = { key: "topic", label: "Topic", share: 2, value: (r) => r.topic, cell: (r) => html`<${TopicLink} topic=${r.topic} />`, heads: false };
const channel = { key: "channel", label: "Channel", value: (r) => r.channel, cell: (r) => html`<${ChannelLink} topic=${r.topic} channel=${r.channel} />` };
const node = { key: "node", label: "Node", width: 170, wide: true, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` };
const figures = [
  number("ready", "RDY", 70, (r) => r.ready_count, { hint: "how many messages it wants at once", wide: true }),
  number("flight", "In flight", 88, (r) => r.in_flight_count, { wide: true }),
  { key: "finish", label: "Finished/s", width: 102, number: true, value: (r) => r.finish_rate, as: rate },
  { key: "requeue", label: "Requeued/s", width: 108, number: true, wide: true, extra: true, value: (r) => r.requeue_rate, as: rate },
  number("messages", "Messages", 104, (r) => r.message_count, { wide: true }),
  { key: "connected", label: "Connected", width: 104, number: true, wide: true, value: (r) => -r.connect_ts, cell: (r) => html`<${Age} since=${r.connect_ts} />` },
];
const how = [
  { key: "agent", label: "Library", width: 150, wide: true, value: (r) => r.user_agent, cell: (r) => html`<span title=${r.user_agent}>${r.user_agent}</span>` },
  { key: "traits", label: "", hint: "How it is connected", wide: true, width: 156, cell: (r) => html`<${Traits} client=${r} />` },
];

const kinds = {
  channel: [who, address, node, ...figures, ...how],
  all: [who, topic, { ...channel, wide: true }, node, ...figures],
  one: [{ ...topic, heads: true }, channel, address, node, ...figures, ...how],
};

/** Clients lists connections: kind is "channel" (of one channel), "all", or "one" (of one consumer). */
export const Clients = ({ clients, kind, caption, empty }) => html`<${Table} rows=${clients} columns=${kinds[kind]} caption=${caption} empty=${empty}
  id=${(r) => `${r.node} ${r.remote_address} ${r.topic ?? ""}`} sort=${{ key: kinds[kind][0].key, down: false }} />`;
