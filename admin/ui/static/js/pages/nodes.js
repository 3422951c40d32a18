// Every broker, and how it is.
import { html, useMemo } from "../lib/html.js";
import { bytes, count, rate, visible } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { ask } from "../parts/acts.js";
import { Age, Badge, Loading, Name, NodeLink, NodeState, PageHead, Warning } from "../parts/figures.js";
import { Table } from "../parts/table.js";

export function Nodes({ session }) {
  const { data } = useView({ view: "nodes" });
  const zones = data?.nodes.some((n) => n.topology_zone || n.topology_region), gone = session.runs && data?.nodes.some((n) => n.may_dismiss);
  const shown = useMemo(() => [...columns.filter((c) => zones || c.key !== "zone"), ...(gone ? [dismiss] : [])], [zones, gone]);
  if (!data) return html`<${PageHead} title="Nodes" /><${Loading} />`;
  return html`<${PageHead} title="Nodes" badges=${html`<span class="muted">${count(data.nodes.length)}</span>`} /><${Warning} text=${data.warning} />
    <${Table} rows=${data.nodes} columns=${shown} id=${(r) => r.node} caption="Nodes" rowClass=${(r) => r.stale && "stale"}
      empty=${session.mode === "lookupd" ? html`No broker has registered with ${session.lookups.join(", ")}. Start one with <code>--lookupd-tcp-address</code>.` : "None of the brokers that admind was given has answered."} />`;
}

/** DiskFree shows what is left, and alarms when that is little. */
export function DiskFree({ disk }) {
  if (!disk?.total_bytes) return html`<span class="zero">–</span>`;
  const low = disk.free_bytes < Math.max(disk.min_free_bytes * 2, disk.total_bytes * 0.05);
  return html`<span class=${low ? "bad" : ""} title=${`of ${bytes(disk.total_bytes)}`}>${bytes(disk.free_bytes)}</span>`;
}

const number = (key, label, value, more) => ({ key, label, number: true, value, as: count, ...more });
const known = (value) => (r) => (r.stale && r.error !== "no lookup names it" ? null : value(r));
const zone = (r) => [r.topology_region, r.topology_zone].filter(Boolean).map(visible).join(" / ");
const columns = [
  { key: "node", label: "Node", heads: true, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  { key: "state", label: "State", width: 156, phone: 100, value: (r) => (r.stale ? 2 : r.healthy ? 0 : 1), cell: (r) => html`<${NodeState} node=${r} />` },
  { key: "host", label: "Host", drop: 9, value: (r) => r.hostname, text: (r) => visible(r.hostname), cell: (r) => html`<span title=${visible(r.hostname)}><${Name}>${r.hostname}</${Name}></span>` },
  { key: "version", label: "Version", drop: 6, more: 46, value: (r) => r.version, text: (r) => `${r.kind} ${r.version}`, cell: (r) => html`<span title=${visible(r.version)}>${r.kind} <${Name}>${r.version}</${Name}></span>${r.out_of_date && html`<${Badge} kind="warning" title="another node has a newer one">old</${Badge}>`}` },
  { key: "zone", label: "Zone", drop: 8, value: zone, cell: zone },
  { key: "in", label: "In/s", number: true, drop: 1, value: known((r) => r.rate_in), as: rate },
  { key: "out", label: "Out/s", number: true, drop: 4, value: known((r) => r.rate_out), as: rate, hint: "messages finished per second, all channels together" },
  number("depth", "Depth", (r) => r.depth),
  number("flight", "In flight", (r) => r.in_flight, { drop: 5 }),
  number("topics", "Topics", (r) => r.topics, { drop: 7 }),
  number("clients", "Consumers", (r) => r.clients, { drop: 5 }),
  { key: "disk", label: "Disk free", number: true, drop: 3, value: (r) => r.disk?.free_bytes, text: () => "999 GiB", cell: (r) => html`<${DiskFree} disk=${r.disk} />` },
  { key: "up", label: "Up", number: true, drop: 6, value: (r) => (r.stale ? 0 : -r.start_time), text: () => "23h 59m", cell: (r) => r.start_time && !r.stale ? html`<${Age} since=${r.start_time} />` : "–" },
];
const dismiss = { key: "act", label: "", hint: "Acts", width: 104, class: "acts", drop: 2,
  cell: (r) => r.may_dismiss && html`<button type="button" class="small risky" aria-label=${`Dismiss ${visible(r.node)}`} onClick=${() => ask.dismiss(r.node)}>Dismiss…</button>` };
