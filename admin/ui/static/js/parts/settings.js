// The settings of a broker as they are in force.
import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { bytes, count, nanoseconds, seconds, visible } from "../lib/format.js";
import { esc } from "../lib/router.js";
import { Badge, Name, Section } from "./figures.js";
import { Table } from "./table.js";

const every = 15000;

/** Settings lists what differs from the defaults, or everything. A broker that tells nothing of it, as nsqd, has none of this. */
export function Settings({ node }) {
  const [told, setTold] = useState(null);
  const [all, setAll] = useState(false);
  useEffect(() => {
    const stop = new AbortController();
    let again = 0;
    const ask = async () => {
      try {
        const { settings, error } = await get(`nodes/${esc(node)}/settings`, {}, stop.signal);
        if (!error) setTold(settings);
      } catch { /* what it said before stands */ }
      if (!stop.signal.aborted) again = setTimeout(ask, every);
    };
    ask();
    return () => { stop.abort(); clearTimeout(again); };
  }, [node]);
  const rows = useMemo(() => told?.settings.filter((s) => all || s.source !== "default" || s.after_restart !== undefined) ?? [], [told, all]);
  if (!told) return null;
  const tools = html`<div class="filters" role="group" aria-label="Which settings">${[[false, "Changed"], [true, "All"]].map(([which, label]) => html`<button type="button" key=${label} class="chip" aria-pressed=${which === all}
    onClick=${() => setAll(which)}>${label}</button>`)}</div>`;
  return html`<${Section} title="Settings" about=${told.file ? html`from <${Name}>${told.file}</${Name}>` : "no file"} tools=${tools}>
    ${told.warnings?.map((w) => html`<p class="note warning" key=${w}><${Name}>${w}</${Name}></p>`)}
    <${Table} rows=${rows} columns=${columns} id=${(r) => r.key} caption="Settings in force" empty="Everything is at its default." /></${Section}>`;
}

/** written writes a value as a person reads it: durations and sizes with units. */
export function written(key, value) {
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(visible).join(", ");
  if (value === "" || value == null) return "none";
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value !== "number") return visible(typeof value === "object" ? JSON.stringify(value) : value);
  if (/(timeout|interval|_time|_every_time)$/.test(key) && Math.abs(value) >= 1e3) return value % 1e9 === 0 && value >= 6e10 ? seconds(value / 1e9) : nanoseconds(value);
  if (/(size|bytes|memory|file)$/.test(key) && !/queue|count/.test(key) && value >= 1024) return bytes(value);
  return count(value);
}

const columns = [
  { key: "key", label: "Setting", heads: true, value: (r) => r.flag, text: (r) => `--${r.flag}`, cell: (r) => html`<span class="mono" title=${r.key}>--${r.flag}</span>` },
  { key: "value", label: "Value", value: (r) => written(r.key, r.value), more: 90, cell: (r) => html`<span title=${JSON.stringify(r.value)}>${written(r.key, r.value)}</span>
    ${r.after_restart !== undefined && html`<${Badge} kind="warning" title=${`after a restart: ${written(r.key, r.after_restart)}`}>restart</${Badge}>`}` },
  { key: "source", label: "Source", drop: 1, value: (r) => r.source, cell: (r) => (r.source === "default" ? html`<span class="zero">default</span>` : html`<${Name}>${r.source}</${Name}>`) },
  { key: "reload", label: "Changes by", drop: 2, value: (r) => (r.reload ? "reload" : "restart"), cell: (r) => (r.reload ? "reload" : "restart"), hint: "what a change in the file needs: SIGHUP, or a restart" },
];
