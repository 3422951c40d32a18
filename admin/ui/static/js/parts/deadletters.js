// What becomes of a channel's messages that are delivered too often.
import { html } from "../lib/html.js";
import { count, plural, visible } from "../lib/format.js";
import { TopicLink } from "./figures.js";

/** DeadLetters shows where dead letters go, how many went, what waits to go and why, and how far the last redrive is. */
export function DeadLetters({ of: d, discarded }) {
  const moved = discarded.dead_lettered ?? 0, dropped = discarded.too_many_attempts ?? 0, on = d.running.length > 0;
  return html`<dl class="sum">
      ${d.topics.map((topic) => html`<div key=${topic}><dt>They go to</dt><dd><${TopicLink} topic=${topic} /></dd></div>`)}
      <div><dt>So far</dt><dd>${count(moved)}</dd></div>
      ${dropped > 0 && html`<div><dt>Discarded instead</dt><dd>${count(dropped)}</dd></div>`}
      ${d.waiting > 0 && html`<div><dt>Wait for that topic</dt><dd>${count(d.waiting)}</dd></div>`}
      ${d.redrives > 0 && html`<div><dt>${on ? "Sent back so far" : "Sent back last time"}</dt><dd>${count(d.moved)}</dd></div>`}
      ${d.in_flight > 0 && html`<div><dt>Stay with consumers there</dt><dd>${count(d.in_flight)}</dd></div>`}</dl>
    ${on && html`<p role="status">Being sent back on ${plural(d.running.length, "node")}: ${d.running.map(visible).join(", ")}.</p>`}
    ${[...d.refusals, ...d.errors].map((text) => html`<p class="note bad" role="alert" key=${text}>${visible(text)}</p>`)}`;
}
