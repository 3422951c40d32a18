// The small pieces that pages are made of.
import { html, useEffect, useState } from "../lib/html.js";
import { count, moment, seconds, short, visible } from "../lib/format.js";
import { path } from "../lib/router.js";
import { Spark } from "./spark.js";

/** Tile is a figure of the page's head, with its last minutes. old is for how long (ms) nothing newer is known: it is dimmed and says so. */
export function Tile({ label, value, unit, about, values, kind, old }) {
  return html`<div class=${`tile ${kind ?? ""} ${old ? "old" : ""}`}><span class="label">${label}</span>
    <span class="value">${value}${unit && value !== "–" && html`<span class="unit">${unit}</span>`}</span>
    <span class="about" title=${typeof about === "string" ? about : undefined}>${old ? `as of ${seconds(old / 1000)} ago` : about ?? ""}</span>
    ${values && html`<${Spark} values=${values} label=${`${label}, last minutes`} wide />`}</div>`;
}

/** Name shows a name from elsewhere: nothing of it is interpreted, hidden, or turns what stands beside it. */
export const Name = ({ children }) => html`<bdi>${visible(children)}</bdi>`;

/** Badge is a word about a thing's state: kind is "", "warning", "bad" or "accent". */
export const Badge = ({ kind = "", title, children }) => html`<span class=${"badge " + kind} title=${title}>${children}</span>`;

/** Section is a part of a page under a heading, with buttons at its right. */
export function Section({ title, about, tools, children }) {
  const id = "s-" + title.toLowerCase().replace(/[^a-z]+/g, "-");
  return html`<section aria-labelledby=${id}><div class="section-head"><h2 id=${id}>${title}</h2>${about && html`<span class="muted">${about}</span>`}
    <span class="space" />${tools}</div>${children}</section>`;
}

/** PageHead names what the page is about. */
export function PageHead({ above, title, badges, tools }) {
  return html`<header class="page-head"><div>${above && html`<nav class="crumbs" aria-label="Breadcrumb">${above}</nav>`}
    <h1><${Name}>${title}</${Name}> ${badges}</h1></div>${tools && html`<div class="tools">${tools}</div>`}</header>`;
}

const link = (href, name) => html`<a href=${href} title=${visible(name)}><${Name}>${name}</${Name}></a>`;
export const TopicLink = ({ topic }) => link(path.topic(topic), topic);
export const ChannelLink = ({ topic, channel }) => link(path.channel(topic, channel), channel);
export const NodeLink = ({ node }) => link(path.node(node), node);

/** Age tells how long ago a moment (seconds since the epoch) was, and keeps counting. */
export function Age({ since }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const turn = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(turn);
  }, []);
  return html`<time datetime=${new Date(since * 1000).toISOString()} title=${moment(since)}>${seconds(now / 1000 - since)}</time>`;
}

/** NodeState is ok, or what is wrong with the node's figures. */
export function NodeState({ node }) {
  if (node.stale) return html`<${Badge} kind="bad" title=${visible(node.error)}>${node.age_ms < 0 ? html`never<span class="roomy"> answered</span>` : node.gone && node.error === "no lookup names it" ? "not registered"
    : html`down<span class="roomy">, ${seconds(node.age_ms / 1000)}</span>`}</${Badge}>`;
  if (node.healthy === false) return html`<${Badge} kind="bad" title=${visible(node.health)}>unhealthy</${Badge}>`;
  if (node.tombstoned === true) return html`<${Badge} kind="warning">tombstoned</${Badge}>`;
  return html`<${Badge}>ok</${Badge}>`;
}

/** Role says what a node is to a replicated topic. */
export const Role = ({ role }) => (role ? html`<${Badge} kind="role" title=${role === "leader" ? "it serves the topic" : "it keeps what the leader has, and sends clients' work there"}>${role === "leader" ? "leads" : "follows"}</${Badge}>` : null);

const words = new Map([["disk", "safe on disk"], ["fsync", "safe on disk, synced"], ["mixed", "durability differs by node"]]);

/** kept says in words where messages that wait are: what a crash would leave of them. */
export function kept(level, depth, disk) {
  if (words.has(level)) return words.get(level);
  if (!depth) return "messages waiting";
  if (!disk) return "in memory only";
  return disk >= depth ? "on disk" : `${short(disk)} on disk, ${short(depth - disk)} in memory`;
}

/** Warning is what the server has to say about the whole page, a line for each. Its place is always there: what stands around it does not move. */
export const Warning = ({ text }) => html`<p class="note warning" role="status" hidden=${!text}>${text}</p>`;

/** Loading and Gone stand where there is nothing to show yet, or any more. */
export const Loading = () => html`<p class="loading" role="status">Waiting for figures…</p>`;
export const Gone = ({ what, name }) => html`<div class="blank"><h1>No such ${what}</h1><p><code><${Name}>${name}</${Name}></code> is not known to any node or lookup. It may have been deleted.</p>
  <p><a href=${path.overview()}>To the overview</a></p></div>`;

const mostShown = 8;

/** Attention lists what needs somebody, the worst first: causes, with what follows from each; brief leaves out what follows elsewhere from a node's trouble. */
export function Attention({ items, more = 0, brief }) {
  const [all, setAll] = useState(false);
  if (!items?.length) return null;
  const shown = all || items.length === mostShown + 1 ? items : items.slice(0, mostShown);
  return html`<ul class="attention">${shown.map((a) => html`<${Cause} key=${a.kind + a.path + a.node} item=${brief && a.node ? { ...a, effects: [] } : a} />`)}
    ${items.length > shown.length && html`<li class="rest"><button type="button" class="plain link" onClick=${() => setAll(true)}>Show ${items.length - shown.length} more</button></li>`}
    ${all && more > 0 && html`<li class="rest muted">and ${count(more)} more</li>`}</ul>`;
}

function Cause({ item: a }) {
  const since = html`<span class="since">for <${Age} since=${a.since / 1000} /></span>`;
  const mark = html`<span class="mark" aria-hidden="true" /><span class="sr">${a.severity}: </span>`;
  if (a.members?.length) {
    const [worst] = a.members;
    return html`<li class=${a.severity}>${mark}<div class="cause"><details><summary>${a.text}</summary>
      <ul class="members">${a.members.map((m) => html`<li key=${m.path + m.node}><a href=${path.overview() + m.path}>${m.text}</a></li>`)}${a.effects.map((e) => html`<li class="muted" key=${e}>${e}</li>`)}</ul></details>
      <ul class="worst"><li>worst: <a href=${path.overview() + worst.path}>${worst.text}</a></li></ul></div>${since}</li>`;
  }
  return html`<li class=${a.severity}>${mark}<div class="cause"><a href=${path.overview() + a.path}>${a.text}</a>
    ${a.effects?.length > 0 && html`<ul>${a.effects.map((e) => html`<li key=${e}>${e}</li>`)}</ul>`}</div>${since}</li>`;
}

/** Facts is a list of names and values. */
export const Facts = ({ items }) => html`<dl class="facts">${items.filter(([, v]) => v != null && v !== "").map(([k, v]) => html`<div key=${k}><dt>${k}</dt><dd>${v}</dd></div>`)}</dl>`;
