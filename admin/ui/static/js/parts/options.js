// The options of a topic or channel: what counts, where that comes from, and the form that sets them.
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { isName } from "./acts.js";
import { act, get } from "../lib/api.js";
import { visible } from "../lib/format.js";
import { esc } from "../lib/router.js";
import { Dialog } from "./dialog.js";
import { Badge, Name, Section } from "./figures.js";
import { notify } from "./notices.js";
import { Table } from "./table.js";

const every = 15000;
const from = { default: "default", node: "the node", topic: "set for the topic", channel: "set for the channel", "topic-pattern": "pattern", "channel-pattern": "pattern" };

/** Options lists what differs from the defaults, or everything, with a form for who may act. Brokers that tell nothing of it, as nsqd, have none of this. */
export function Options({ topic, channel, acts }) {
  const [told, setTold] = useState(null);
  const [all, setAll] = useState(false);
  const [editing, setEditing] = useState(false);
  const [asked, setAsked] = useState(0);
  useEffect(() => {
    if (!isName(topic) || channel && !isName(channel)) return undefined; // of a name that no broker can have
    const stop = new AbortController();
    let again = 0;
    const ask = async () => {
      try {
        const { options, error } = await get(`options/${esc(topic)}${channel ? `/${esc(channel)}` : ""}`, {}, stop.signal);
        if (!error) setTold(options);
      } catch { /* what they said before stands */ }
      if (!stop.signal.aborted) again = setTimeout(ask, every);
    };
    ask();
    return () => { stop.abort(); clearTimeout(again); };
  }, [topic, channel, asked]);
  const rows = useMemo(() => Object.entries(told ?? {}).map(([name, o]) => ({ name, ...o }))
    .filter((o) => all || o.source !== "default" || o.mixed).sort((a, b) => (a.name < b.name ? -1 : 1)), [told, all]);
  if (!told || Object.keys(told).length === 0) return null;
  const tools = html`<div class="filters" role="group" aria-label="Which options">${[[false, "Changed"], [true, "All"]].map(([which, label]) => html`<button type="button" key=${label} class="chip" aria-pressed=${which === all}
      onClick=${() => setAll(which)}>${label}</button>`)}</div>
    ${acts && html`<button type="button" class="small" onClick=${() => setEditing(true)}>Set options…</button>`}`;
  return html`<${Section} title="Options" about=${channel ? "of the channel, or else of its topic" : "of the topic, and of channels that have none of their own"} tools=${tools}>
    <${Table} rows=${rows} columns=${columns} id=${(r) => r.name} caption="Options in force" empty="Everything is at its default." />
    ${editing && html`<${Form} topic=${topic} channel=${channel} told=${told} onClose=${() => setEditing(false)} onSet=${() => setAsked(asked + 1)} />`}</${Section}>`;
}

/** written writes a value as a person reads it. */
function written(o) {
  if (o.value === "" || o.value === 0 || o.value === "0s") return "none";
  return visible(typeof o.value === "object" ? JSON.stringify(o.value) : String(o.value));
}

const columns = [
  { key: "name", label: "Option", heads: true, value: (r) => r.name, cell: (r) => html`<span class="mono" title=${r.help}>${r.name}</span>` },
  { key: "value", label: "Value", value: written, more: 60, cell: (r) => html`<span title=${r.help}>${written(r)}</span>
    ${r.off && html` <${Badge} kind="warn" title=${r.off}>not in force</${Badge}>`}${r.mixed && html` <${Badge} kind="warn" title="its nodes do not have the same">differs by node</${Badge}>`}` },
  { key: "source", label: "From", value: (r) => from[r.source] ?? r.source, more: 60, cell: (r) => html`${from[r.source] ?? r.source}${r.pattern && html` <code>${visible(r.pattern)}</code>`}` },
];

/** given makes the value of what was typed: empty is the default again. */
function given(text, o) {
  if (text === "") return null;
  if (typeof o.default === "boolean" && (text === "true" || text === "false")) return text === "true";
  if (typeof o.default === "number" && /^\d+$/.test(text)) return Number(text);
  return text;
}

/** about is what the brokers say is wrong, and of which option. */
function about(message, told) {
  const text = message.replace(/^INVALID_CONFIG: /, ""), [name] = text.split(":", 1);
  return Object.hasOwn(told, name) ? { name, text: text.slice(name.length + 2) } : { text };
}

function Form({ topic, channel, told, onClose, onSet }) {
  const own = channel ? "channel" : "topic", name = channel ? `${topic} / ${channel}` : topic;
  const fields = Object.keys(told).sort();
  const was = useMemo(() => Object.fromEntries(fields.map((n) => [n, told[n].source === own && !told[n].mixed ? String(told[n].value) : ""])), []);
  const [typed, setTyped] = useState(was);
  const [state, setState] = useState({});
  const changed = fields.filter((n) => typed[n] !== was[n]);
  const submit = async (event) => {
    event.preventDefault();
    if (changed.length === 0 || state.busy) return;
    setState({ busy: true });
    try {
      const answer = await act.setOptions(topic, channel, Object.fromEntries(changed.map((n) => [n, given(typed[n].trim(), told[n])])));
      if (answer?.message) notify("warning", `Set options of ${name}, but not everywhere. ${answer.message.replace(/^WARNING: /, "")}`, answer.results);
      else notify("good", `Set options of ${name}.`);
      onSet();
      onClose();
    } catch (error) {
      setState({ wrong: about(error.message, told) });
    }
  };
  return html`<${Dialog} title=${`Options of ${name}`} onClose=${onClose}>
    <form onSubmit=${submit} autocomplete="off" class="options">
      <p class="muted">An empty field is the default, or what a pattern${channel ? " or the topic" : ""} says. Every node that has the ${own} takes all, or none.</p>
      ${fields.map((n, i) => html`<${Field} key=${n} name=${n} o=${told[n]} value=${typed[n]} first=${i === 0} wrong=${state.wrong?.name === n && state.wrong.text}
        onInput=${(text) => { setTyped({ ...typed, [n]: text }); setState({}); }} />`)}
      ${state.wrong && !state.wrong.name && html`<p class="note bad" role="alert">${state.wrong.text}</p>`}
      <div class="buttons">
        <button type="button" onClick=${onClose}>Cancel</button>
        <button type="submit" class="primary" disabled=${changed.length === 0 || state.busy}>${state.busy ? "Working…" : "Set"}</button>
      </div>
    </form></${Dialog}>`;
}

function Field({ name, o, value, first, wrong, onInput }) {
  const hint = `hint-${name}`, box = useRef(null);
  useEffect(() => { if (wrong) box.current.scrollIntoView({ block: "center" }); }, [wrong]);
  return html`<div class="field" ref=${box}><label>${name} <span class="muted">now ${written(o)}, ${from[o.source] ?? o.source}</span>
    <input name=${name} data-first=${first || undefined} value=${value} placeholder=${written(o)} onInput=${(e) => onInput(e.target.value)} spellcheck=${false} autocapitalize="off" autocomplete="off"
      aria-invalid=${!!wrong} aria-describedby=${hint} /></label>
    <span class=${wrong ? "hint bad" : "hint muted"} id=${hint} role=${wrong ? "alert" : undefined}>${wrong || `${o.help} It ${o.allowed}.`}</span></div>`;
}
