// Every broker, and how it is.
import { html } from "../lib/html.js";
import { bytes, count, rate } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { Age, Badge, Loading, NodeLink, NodeState, PageHead, Warning } from "../parts/figures.js";
import { Table } from "../parts/table.js";

export function Nodes({ session }) {
  const { data } = useView({ view: "nodes" });
  if (!data) return html`<${PageHead} title="Nodes" /><${Loading} />`;
  const zones = data.nodes.some((n) => n.topology_zone || n.topology_region);
  return html`<${PageHead} title="Nodes" badges=${html`<span class="muted">${count(data.nodes.length)}</span>`} /><${Warning} text=${data.warning} />
    <${Table} rows=${data.nodes} columns=${columns.filter((c) => zones || c.key !== "zone")} id=${(r) => r.node} caption="Nodes" rowClass=${(r) => r.stale && "stale"}
      empty=${session.mode === "lookupd" ? html`No broker has registered with ${session.lookups.join(", ")}. Start one with <code>--lookupd-tcp-address</code>.` : "None of the brokers that admind was given has answered."} />`;
}

/** DiskFree shows what is left, and alarms when that is little. */
export function DiskFree({ disk }) {
  if (!disk?.total_bytes) return html`<span class="zero">–</span>`;
  const low = disk.free_bytes < Math.max(disk.min_free_bytes * 2, disk.total_bytes * 0.05);
  return html`<span class=${low ? "bad" : ""} title=${`of ${bytes(disk.total_bytes)}`}>${bytes(disk.free_bytes)}</span>`;
}

const number = (key, label, width, value, more) => ({ key, label, width, number: true, value, as: count, ...more });
const columns = [
  { key: "node", label: "Node", heads: true, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  { key: "state", label: "State", width: 140, phone: 72, value: (r) => (r.stale ? 2 : r.healthy ? 0 : 1), cell: (r) => html`<${NodeState} node=${r} />` },
  { key: "version", label: "Version", width: 150, wide: true, value: (r) => r.version, cell: (r) => html`${r.kind} ${r.version}${r.out_of_date && html`<${Badge} kind="warning" title="another node has a newer one">old</${Badge}>`}` },
  { key: "zone", label: "Zone", width: 120, wide: true, extra: true, value: (r) => r.topology_region + r.topology_zone, cell: (r) => [r.topology_region, r.topology_zone].filter(Boolean).join(" / ") },
  { key: "in", label: "In/s", width: 80, phone: 64, number: true, value: (r) => r.rate_in, as: rate },
  { key: "out", label: "Out/s", width: 80, number: true, wide: true, value: (r) => r.rate_out, as: rate },
  number("depth", "Depth", 92, (r) => r.depth, { phone: 78 }),
  number("flight", "In flight", 90, (r) => r.in_flight, { wide: true }),
  number("topics", "Topics", 78, (r) => r.topics, { wide: true, extra: true }),
  number("clients", "Consumers", 104, (r) => r.clients, { wide: true }),
  { key: "disk", label: "Disk free", width: 100, number: true, wide: true, value: (r) => r.disk?.free_bytes, cell: (r) => html`<${DiskFree} disk=${r.disk} />` },
  { key: "up", label: "Up", width: 96, number: true, wide: true, value: (r) => (r.stale ? 0 : -r.start_time), cell: (r) => r.start_time && !r.stale ? html`<${Age} since=${r.start_time} />` : "–" },
];
