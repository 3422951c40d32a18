// One message: its body, and what each channel has of it on each node.
import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { bytes, count, instant, moment, visible, written } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { esc, path } from "../lib/router.js";
import { may } from "../lib/session.js";
import { ask } from "../parts/acts.js";
import { bytesOf, hexDump, laidOut } from "../parts/bodies.js";
import { Badge, ChannelLink, Facts, Gone, Name, NodeLink, PageHead, Section, TopicLink } from "../parts/figures.js";
import { Table } from "../parts/table.js";

const mostShown = 4 << 20; // bytes of a body that a page shows

export function Message({ topic, id, node, position, acts }) {
  const { gone } = useView({ view: "topic", topic }); // and the stream says whether admind is there
  const [told, setTold] = useState(null);
  const [wrong, setWrong] = useState("");
  const [turn, setTurn] = useState(0);
  const [whole, setWhole] = useState(false);
  const [past, setPast] = useState(false);
  useEffect(() => {
    const stop = new AbortController();
    const look = async () => {
      try {
        const want = { body: whole ? "full" : "", history: past ? "true" : "" };
        let answer = await get(`message/${esc(topic)}`, { id, ...want }, stop.signal);
        if (answer.list.length === 0 && node && position) { // too much would have to be read to find the id
          const there = await get(`message/${esc(topic)}`, { node, position, ...want }, stop.signal);
          if (there.list.some((m) => m.id === id)) answer = there;
        }
        setTold(answer);
        setWrong("");
      } catch (error) {
        if (error.name !== "AbortError") setWrong(error.message);
      }
    };
    if (may("reads", topic)) look();
    return () => stop.abort();
  }, [topic, id, turn, whole, past]);
  if (gone) return html`<${Gone} what="topic" name=${topic} />`;
  const first = told?.list[0];
  const again = first && may("publishes", topic) && html`<button type="button" onClick=${() => ask.publishAgain(topic, first)}>Publish again…</button>`;
  return html`<${PageHead} above=${html`<a href=${path.overview()}>Topics</a><${TopicLink} topic=${topic} /><a href=${path.messages(topic)}>Messages</a>`}
      title=${id} tools=${html`${again}<button type="button" onClick=${() => setTurn((n) => n + 1)}>Look again</button>`} />
    ${!may("reads", topic) && html`<p class="empty">Whoever reads the bodies of messages needs the right to consume from the topic.</p>`}
    ${wrong && html`<p class="note bad" role="alert">${visible(wrong)}</p>`}
    ${told?.errors.map((one) => html`<p class="note bad" role="alert" key=${one}>${visible(one)}</p>`)}
    ${told && !first && !past && html`<p class="after"><button type="button" onClick=${() => setPast(true)}>Look for it in the log</button></p>`}
    ${told && !first && html`<p class="empty">No node has this message. Once every channel is done with it, it is there only where the topic keeps its messages: see the options <code>retain_time</code> and <code>retain_bytes</code>.</p>`}
    ${first && html`<${Body} topic=${topic} told=${told} whole=${whole} onWhole=${() => setWhole(true)} past=${past} onPast=${() => setPast(true)} acts=${acts} then=${() => setTurn((n) => n + 1)} />`}`;
}

function Body({ topic, told, whole, onWhole, past, onPast, acts, then }) {
  const m = told.list[0];
  const rows = useMemo(() => told.list.flatMap((t) => [...(t.backlog ? [{ ...t.backlog, channel: "" }] : []), ...t.channels].map((c) => ({ ...c, node: t.node, position: t.position }))), [told]);
  const columns = useMemo(() => (acts ? [...where(topic), deed(topic, m.id, then)] : where(topic)), [topic, acts, m.id]);
  return html`<${Facts} items=${[["Published", moment(Date.parse(m.time) / 1000)], ["Size", bytes(m.size)], ["Position", told.list.map((t) => `${count(t.position)} on ${visible(t.node)}`).join(", ")],
      ["Key", m.key && html`<span class="mono" title="CRC-32C of the key that orders it">${m.key}</span>`], ["Kept", m.kept ? "by the topic, also when it is finished" : "until every channel is done with it"],
      ["Body is", m.read_from && (m.read_from === "memory" ? "in memory" : "on disk only")]]} />
    ${m.gone ? html`<p class="empty">It is not there any more: every channel is done with it.</p>` : html`<${Content} m=${m} whole=${whole} onWhole=${onWhole} />`}
    ${!m.gone && html`<${Section} title="Where it is" about="on each channel">
      ${told.list.some((t) => t.letters_cut) && html`<p class="note" role="status">A dead letter topic was looked through in part only: what is done may be a dead letter.</p>`}
      <${Table} rows=${rows} columns=${columns} id=${(r) => `${r.node} ${r.channel}`} caption="Channels and what they have of the message" empty="The topic has no channel." /></${Section}>`}
    <${Past} told=${told} past=${past} onPast=${onPast} />
    ${m.properties && html`<${Section} title="Beside its body" about="what is known of it"><${Facts} items=${Object.entries(m.properties).sort().map(([name, value]) => [visible(name), html`<${Name}>${value}</${Name}>`])} /></${Section}>`}`;
}

/** Past is what the logs of the nodes have still of what happened to the message. It is read when somebody asks for it: that takes a while. */
function Past({ told, past, onPast }) {
  const rows = useMemo(() => told.list.flatMap((t) => (t.history ?? []).map((e, i) => ({ ...e, node: t.node, i }))), [told]);
  const since = told.list.map((t) => t.history_since).filter(Boolean).sort()[0];
  const read = told.list.some((t) => t.history || t.history_since);
  return html`<${Section} title="History" about=${read && since ? `the log goes back to ${instant(since)}` : "what the log has of it still"}>
    ${read ? html`<${Table} rows=${rows} columns=${happened} id=${(r) => `${r.node} ${String(r.i).padStart(6, "0")}`} sort=${{ key: "nr", down: false }} caption="What happened to the message" empty="The log has nothing of it any more." />`
      : html`<p><button type="button" disabled=${past} onClick=${onPast}>${past ? "Reading the log…" : "Read the log"}</button></p>`}</${Section}>`;
}

const events = { published: "published", failed: "its publish failed", delivered: "delivered", requeued: "was given back", timed_out: "timed out", disconnected: "came back from a lost connection", deferred: "deferred", set_aside: "waits for its key's turn", finished: "finished", discarded: "discarded",
  dead_lettered: "became a dead letter", redriven: "was sent back", rewound: "waits once more", channel_deleted: "the channel was deleted",
  channel_emptied: "the channel was emptied" };

function say(e) {
  const text = events[e.event] ?? visible(e.event);
  if (e.attempt) return `${text}, attempt ${e.attempt}`;
  if (e.due) return `${text} until ${instant(e.due)}`;
  if (e.reason) return `${text}: ${visible(e.reason).replace(/_/g, " ")}`;
  if (e.topic) return `${text}, ${e.event === "published" ? "from" : "in"} ${visible(e.topic)}`;
  return text;
}

const happened = [
  { key: "what", label: "What", heads: true, text: say, cell: say },
  { key: "when", label: "When", value: (r) => r.time ?? "", text: (r) => (r.time ? instant(r.time) : ""), cell: (r) => (r.time ? instant(r.time) : "–"), hint: "about: to the second while the log is busy" },
  { key: "nr", label: "Step", number: true, drop: 6, value: (r) => r.i, as: (n) => String(n + 1), hint: "in the order of the log" },
  { key: "channel", label: "Channel", drop: 2, value: (r) => r.channel ?? "", cell: (r) => html`<${Name}>${r.channel ?? ""}</${Name}>` },
  { key: "client", label: "Client", drop: 4, value: (r) => r.client ?? "", cell: (r) => html`<${Name}>${r.client ?? ""}</${Name}>`, hint: "where the topic has the option trace" },
  { key: "node", label: "Node", drop: 3, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
];

const views = { laid: "Laid out", text: "Text", hex: "Hex" };

/** Content shows a body: JSON laid out, a text as it is, what is none as bytes. */
function Content({ m, whole, onWhole }) {
  const laid = useMemo(() => laidOut(m), [m]), there = useMemo(() => bytesOf(m), [m]);
  const can = [...(laid ? ["laid"] : []), ...(m.body != null ? ["text"] : []), "hex"];
  const [chosen, setChosen] = useState(null);
  const view = can.includes(chosen) ? chosen : can[0];
  const cut = there.length < m.size;
  const text = useMemo(() => (view === "laid" ? laid : view === "text" ? written(m.body) : hexDump(there)), [view, m]);
  const tools = m.size > 0 && html`<div class="filters" role="group" aria-label="How the body is shown">${can.map((name) => html`<button type="button" key=${name} class="chip" aria-pressed=${name === view} onClick=${() => setChosen(name)}>${views[name]}</button>`)}</div>`;
  return html`<${Section} title="Body" about=${cut ? `the first ${bytes(there.length)} of ${bytes(m.size)}` : bytes(m.size)} tools=${tools}>
    ${m.size === 0 ? html`<p class="empty">It is empty.</p>` : html`<pre class="content" tabindex="0" aria-label="Body"><code>${text}</code></pre>`}
    ${cut && (m.size > mostShown ? html`<p class="muted">It is too large to be shown here: <code>brokerctl trace</code> shows all of it.</p>`
      : html`<p class="after"><button type="button" disabled=${whole} onClick=${onWhole}>Show all</button></p>`)}</${Section}>`;
}

const words = { waiting: "waiting", in_flight: "in flight", deferred: "deferred", dying: "waits for its dead letter topic", dead_letter: "dead letter", finished: "done", not_for_it: "not for it", unknown: "not known" };
const hints = {
  finished: "it was finished, or discarded", not_for_it: "it was for another channel only", unknown: "the channel came later, and nobody knows whether it ever had it",
  dying: "it was delivered too often", dead_letter: "it was delivered too often",
};

/** more says in words what is known besides. */
function more(r) {
  if (r.aside) return "another message of its key is out";
  if (r.ahead != null) return r.ahead === 0 ? "next" : `about ${count(r.ahead)} before it`;
  if (r.client) return `${visible(r.client)}, until ${instant(r.deadline)}`;
  if (r.due) return `due ${instant(r.due)}`;
  if (r.letter) return `in ${visible(r.letter.topic)}`;
  return "";
}

const where = (topic) => [
  { key: "channel", label: "Channel", heads: true, value: (r) => r.channel, text: (r) => r.channel || "the topic itself", cell: (r) => (r.channel ? html`<${ChannelLink} topic=${topic} channel=${r.channel} />` : "the topic itself") },
  { key: "state", label: "State", value: (r) => words[r.state] ?? r.state, more: 16, cell: (r) => html`<${Badge} kind=${r.state === "dead_letter" || r.state === "dying" ? "warning" : held(r) ? "accent" : ""} title=${hints[r.state]}>${words[r.state] ?? visible(r.state)}</${Badge}>` },
  { key: "attempts", label: "Attempts", number: true, drop: 3, value: (r) => r.attempts ?? 0, as: count, hint: "deliveries so far, of what is not done" },
  { key: "more", label: "More", value: more, cell: (r) => (r.letter ? html`in <a href=${path.message(r.letter.topic, { ...r.letter, node: r.node })}><${Name}>${r.letter.topic}</${Name}></a>` : more(r)) },
  { key: "node", label: "Node", drop: 2, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
];

const held = (r) => ["waiting", "in_flight", "deferred", "dying"].includes(r.state);
const deed = (topic, id, then) => ({ key: "act", label: "", hint: "Acts", width: 96, class: "acts", cell: (r) => r.channel && held(r) && html`
  <button type="button" class="small risky" aria-label=${`Finish on ${visible(r.channel)}`} title="take it off the channel for good" onClick=${() => ask.finishMessage(topic, r, id, then)}>Finish…</button>` });
