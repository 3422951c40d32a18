// The messages of a topic, or as a channel has them, one by one: looked at, never taken. Bodies are somebody else's: nothing of them is interpreted.
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { bytes, count, instant, plural, visible } from "../lib/format.js";
import { useView } from "../lib/live.js";
import { esc, path } from "../lib/router.js";
import { may } from "../lib/session.js";
import { excerpt } from "../parts/bodies.js";
import { Gone, Name, NodeLink, PageHead, Section, TopicLink } from "../parts/figures.js";
import { Table } from "../parts/table.js";
import { Tabs } from "../parts/tabs.js";

const states = { waiting: "Waiting", in_flight: "In flight", deferred: "Deferred", kept: "Kept" };
const abouts = {
  waiting: "To be delivered, for the first time or again.", in_flight: "With consumers, which have not answered yet.",
  deferred: "Not to be delivered before they are due.",
  kept: "What the topic keeps, and what any of its channels still has: also what is finished, where the options retain_time or retain_bytes keep it.",
};

export function Messages({ topic, channel, state }) {
  const { gone } = useView(channel ? { view: "channel", topic, channel } : { view: "topic", topic }); // and the stream says whether admind is there
  if (gone) return html`<${Gone} what=${channel ? "channel" : "topic"} name=${channel ? `${topic} / ${channel}` : topic} />`;
  const of = channel ? state in states ? state : "waiting" : "kept";
  const above = html`<a href=${path.overview()}>Topics</a>${channel && html`<${TopicLink} topic=${topic} />`}`;
  return html`<${PageHead} above=${above} title=${channel ?? topic} /><${Tabs} topic=${topic} channel=${channel} at="messages" />
    ${may("reads", topic) ? html`<${List} key=${of} topic=${topic} channel=${channel} state=${of} />`
      : html`<p class="empty">Whoever reads the bodies of messages needs the right to consume from the topic.</p>`}`;
}

/** local writes what a field of a date and time has as the time that it means. */
const local = (text) => (text ? new Date(text).toISOString() : "");

function List({ topic, channel, state }) {
  const [told, setTold] = useState(null);
  const [busy, setBusy] = useState(false);
  const [asked, setAsked] = useState({ text: "", from: "" });
  const [text, setText] = useState("");
  const [from, setFrom] = useState("");
  const running = useRef(null);
  const look = async (what, more) => {
    running.current?.abort();
    const stop = running.current = new AbortController();
    setBusy(true);
    try {
      const answer = await get(`browse/${esc(topic)}`, { channel: state === "kept" ? "" : channel, state, contains: what.text,
        from: more ? "" : local(what.from), cursor: more?.map((n) => `${n.node}=${n.cursor}`) }, stop.signal);
      setTold((was) => (more && was ? { ...answer, list: [...was.list, ...answer.list], errors: answer.errors } : answer));
    } catch (error) {
      if (error.name === "AbortError") return;
      setTold((was) => ({ list: more && was ? was.list : [], next: [], errors: [error.message] }));
    }
    setBusy(false);
  };
  useEffect(() => {
    look(asked);
    return () => running.current?.abort();
  }, []);
  const submit = (event) => {
    event.preventDefault();
    const what = { text, from };
    setAsked(what);
    look(what);
  };
  const columns = useMemo(() => columnsOf(topic, state), [topic, state]);
  const more = told?.next.length > 0;
  const searched = asked.text !== "" && more && told.list.length === 0;
  return html`<form class="finder" role="search" aria-label="Messages" onSubmit=${submit} autocomplete="off">
      ${channel && html`<nav class="filters" aria-label="State">${Object.entries(states).map(([name, label]) => html`<a key=${name} class="chip" href=${path.messages(topic, channel, name)}
        aria-current=${name === state ? "page" : undefined}>${label}</a>`)}</nav>`}
      <label class="grow"><span class="sr">Text in the body</span><input type="search" value=${text} placeholder="Text in the body" onInput=${(e) => setText(e.target.value)} spellcheck=${false} autocapitalize="off" maxlength="256" /></label>
      <label>${state === "deferred" ? "Due from" : "Published from"} <input type="datetime-local" step="1" value=${from} onInput=${(e) => setFrom(e.target.value)} /></label>
      <button type="submit" class="primary" disabled=${busy}>${busy ? "Looking…" : told && asked.text === text && asked.from === from ? "Look again" : "Search"}</button>
    </form>
    <${Section} title=${states[state]} about=${told && `${plural(told.list.length, "message")}${more ? ", there may be more" : ""}`}>
      <p class="muted under">${abouts[state]}</p>
      ${told?.errors.map((one) => html`<p class="note bad" role="alert" key=${one}>${visible(one)}</p>`)}
      ${!told ? html`<p class="loading" role="status">Looking…</p>`
        : html`<${Table} rows=${told.list} columns=${columns} id=${(r) => `${r.node} ${r.position}`} sort=${{ key: state === "deferred" ? "due" : "time", down: false }}
          caption=${`Messages of ${channel ?? topic}`} empty=${searched ? "None so far." : asked.text || asked.from ? "None is like that." : "None."} />`}
      ${more && html`<p class="after"><button type="button" disabled=${busy} onClick=${() => look(asked, told.next)}>${busy ? "Looking…" : searched ? "Search on" : "Show more"}</button></p>`}</${Section}>`;
}

const known = new Map();

/** columnsOf are the same objects each time, so that rows stay as they are. */
function columnsOf(topic, state) {
  const key = topic + " " + state;
  if (!known.has(key)) known.clear(), known.set(key, [id(topic), body, ...(own[state] ?? []), published, ...rest]);
  return known.get(key);
}

const id = (topic) => ({ key: "id", label: "ID", heads: true, width: 168, phone: 158, value: (r) => r.id,
  cell: (r) => html`<a class="mono" href=${path.message(topic, r)}>${visible(r.id)}</a>` });
const body = { key: "body", label: "Body", value: excerpt, text: (r) => excerpt(r).slice(0, 60), cell: (r) => html`<bdi class="mono">${excerpt(r)}</bdi>` };
const at = (key, label, hint, drop) => ({ key, label, hint, drop, value: (r) => r[key] ?? "", text: (r) => (r[key] ? instant(r[key]) : ""), cell: (r) => (r[key] ? instant(r[key]) : "–") });
const published = at("time", "Published", "when it came to the topic", 3);
const attempts = { key: "attempts", label: "Attempts", number: true, drop: 5, value: (r) => r.attempts ?? 0, as: count, hint: "deliveries so far" };
const client = { key: "client", label: "Client", drop: 4, value: (r) => r.client ?? "", text: (r) => visible(r.client ?? ""), cell: (r) => html`<${Name}>${r.client ?? ""}</${Name}>` };
const own = {
  waiting: [attempts], deferred: [at("due", "Due", "when it is delivered"), attempts],
  in_flight: [client, at("deadline", "Deadline", "when its time in flight is over", 3), attempts],
};
const rest = [
  { key: "size", label: "Size", number: true, drop: 6, value: (r) => r.size, as: bytes },
  { key: "node", label: "Node", drop: 3, value: (r) => r.node, cell: (r) => html`<${NodeLink} node=${r.node} />` },
  { key: "position", label: "Position", number: true, drop: 8, value: (r) => r.position, as: count, hint: "in its topic on its node" },
];
