// The table of a topic's channels.
import { html } from "../lib/html.js";
import { count, rate } from "../lib/format.js";
import { Badge, ChannelLink } from "./figures.js";
import { Table } from "./table.js";

const figure = (key, label, value, more = {}) => ({ key, label, number: true, width: 96, value, as: count, ...more });

/** channelFigures are the columns that every list of channels has. */
export const channelFigures = [
  figure("depth", "Depth", (r) => r.depth),
  figure("flight", "In flight", (r) => r.in_flight, { wide: true }),
  figure("deferred", "Deferred", (r) => r.deferred, { wide: true }),
  figure("out", "Out/s", (r) => r.rate_out, { as: rate, width: 84, hint: "messages finished per second" }),
  figure("requeue", "Requeued/s", (r) => r.requeue_rate, { as: rate, width: 112, wide: true }),
  figure("timeout", "Timed out/s", (r) => r.timeout_rate, { as: rate, width: 116, wide: true }),
  figure("clients", "Consumers", (r) => r.clients, { width: 104 }),
];

const columns = (topic) => [
  { key: "channel", label: "Channel", heads: true, value: (r) => r.channel, cell: (r) => html`<${ChannelLink} topic=${topic} channel=${r.channel} />${r.paused && html`<${Badge} kind="accent">paused</${Badge}>`}
    ${r.attention > 0 && html`<${Badge} kind="warning" title="needs attention">!</${Badge}>`}` },
  ...channelFigures,
  figure("messages", "Messages", (r) => r.message_count, { width: 116, wide: true, hint: "that the channel got since the nodes started" }),
];

/** Channels lists channels of a topic. */
export const Channels = ({ topic, channels, empty }) => html`<${Table} rows=${channels} columns=${columns(topic)} id=${(r) => r.channel}
  sort=${{ key: "channel", down: false }} caption=${`Channels of ${topic}`} empty=${empty} />`;
