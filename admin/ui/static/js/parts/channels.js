// The table of a topic's channels.
import { html } from "../lib/html.js";
import { count, rate } from "../lib/format.js";
import { Badge, ChannelLink } from "./figures.js";
import { Table } from "./table.js";

const figure = (key, label, value, more = {}) => ({ key, label, number: true, value, as: count, ...more });

/** channelFigures are the columns that every list of channels has. */
export const channelFigures = [
  figure("depth", "Depth", (r) => r.depth),
  figure("flight", "In flight", (r) => r.in_flight, { drop: 5 }),
  figure("deferred", "Deferred", (r) => r.deferred, { drop: 7 }),
  figure("out", "Out/s", (r) => (r.down ? null : r.rate_out), { as: rate, hint: "messages finished per second" }),
  figure("requeue", "Requeued/s", (r) => (r.down ? null : r.requeue_rate), { as: rate, drop: 6 }),
  figure("timeout", "Timed out/s", (r) => (r.down ? null : r.timeout_rate), { as: rate, drop: 6 }),
  figure("clients", "Consumers", (r) => r.clients, { drop: 1 }),
];

const columns = (topic) => [
  { key: "channel", label: "Channel", heads: true, value: (r) => r.channel, cell: (r) => html`<${ChannelLink} topic=${topic} channel=${r.channel} />${r.attention > 0 && html`<${Badge} kind="warning" title=${r.problem}>!</${Badge}>`}
    ${r.paused && html`<${Badge} kind="accent">paused</${Badge}>`}${r.down && html`<${Badge} kind="bad" title="no node that has it answers">down</${Badge}>`}`, more: 90 },
  ...channelFigures,
  figure("messages", "Messages", (r) => r.message_count, { drop: 4, hint: "that the channel got since the nodes started" }),
];

/** Channels lists channels of a topic. */
export const Channels = ({ topic, channels, empty }) => html`<${Table} rows=${channels} columns=${columns(topic)} id=${(r) => r.channel}
  sort=${{ key: "channel", down: false }} caption=${`Channels of ${topic}`} empty=${empty} />`;
