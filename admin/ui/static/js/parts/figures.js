// The small pieces that pages are made of.
import { html, useEffect, useState } from "../lib/html.js";
import { count, moment, seconds } from "../lib/format.js";
import { path } from "../lib/router.js";
import { Spark } from "./spark.js";

/** Tile is a figure of the page's head, with its last minutes. */
export function Tile({ label, value, unit, about, values, kind }) {
  return html`<div class=${"tile " + (kind ?? "")}><span class="label">${label}</span>
    <span class="value">${value}${unit && html`<span class="unit">${unit}</span>`}</span>
    <span class="about">${about ?? ""}</span>
    ${values && html`<${Spark} values=${values} label=${`${label}, last minutes`} wide />`}</div>`;
}

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
    <h1>${title} ${badges}</h1></div>${tools && html`<div class="tools">${tools}</div>`}</header>`;
}

export const TopicLink = ({ topic }) => html`<a href=${path.topic(topic)} title=${topic}>${topic}</a>`;
export const ChannelLink = ({ topic, channel }) => html`<a href=${path.channel(topic, channel)} title=${channel}>${channel}</a>`;
export const NodeLink = ({ node }) => html`<a href=${path.node(node)} title=${node}>${node}</a>`;

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
  if (node.stale) return html`<${Badge} kind="bad" title=${node.error}>${node.age_ms < 0 ? "never answered" : html`stale<span class="wide">, ${seconds(node.age_ms / 1000)} old</span>`}</${Badge}>`;
  if (node.healthy === false) return html`<${Badge} kind="bad" title=${node.health}>unhealthy</${Badge}>`;
  if (node.tombstoned === true) return html`<${Badge} kind="warning">tombstoned</${Badge}>`;
  return html`<${Badge}>ok</${Badge}>`;
}

/** Warning is what the server has to say about the whole page. */
export const Warning = ({ text }) => text && html`<p class="note warning" role="status">${text}</p>`;

/** Loading and Gone stand where there is nothing to show yet, or any more. */
export const Loading = () => html`<p class="loading" role="status">Waiting for figures…</p>`;
export const Gone = ({ what, name }) => html`<div class="blank"><h1>No such ${what}</h1><p>${html`<code>${name}</code>`} is not known to any node or lookup. It may have been deleted.</p>
  <p><a href=${path.overview()}>To the overview</a></p></div>`;

/** Attention lists what needs somebody, most urgent first. A page whose warning names the daemons that do not answer leaves them out with told. */
export function Attention({ items, more = 0, told }) {
  const [all, setAll] = useState(false);
  if (told) items = items?.filter((a) => a.kind !== "node_stale" && a.kind !== "lookup_failing");
  if (!items?.length) return null;
  const shown = all ? items : items.slice(0, 6);
  return html`<ul class="attention">${shown.map((a) => html`<li key=${a.kind + a.path + a.node} class=${a.severity}>
    <span class="mark" aria-hidden="true" /><span class="sr">${a.severity}: </span><a href=${path.overview() + a.path}>${a.text}</a>
    <span class="muted">for <${Age} since=${a.since / 1000} /></span></li>`)}
    ${items.length > shown.length && html`<li class="rest"><button type="button" class="plain link" onClick=${() => setAll(true)}>Show ${items.length - shown.length} more</button></li>`}
    ${all && more > 0 && html`<li class="rest muted">and ${count(more)} more</li>`}</ul>`;
}

/** Facts is a list of names and values. */
export const Facts = ({ items }) => html`<dl class="facts">${items.filter(([, v]) => v != null && v !== "").map(([k, v]) => html`<div key=${k}><dt>${k}</dt><dd>${v}</dd></div>`)}</dl>`;
