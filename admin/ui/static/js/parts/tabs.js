// The parts of what there is to see of a topic or channel.
import { html } from "../lib/html.js";
import { path } from "../lib/router.js";
import { may } from "../lib/session.js";

/** Tabs leads from the figures to the messages and back, for whoever may read these. */
export function Tabs({ topic, channel, at }) {
  if (!may("reads", topic)) return null;
  const tabs = [["figures", "Figures", channel ? path.channel(topic, channel) : path.topic(topic)], ["messages", "Messages", path.messages(topic, channel)]];
  return html`<nav class="tabs" aria-label="Parts">${tabs.map(([key, label, href]) => html`<a key=${key} href=${href} aria-current=${key === at ? "page" : undefined}>${label}</a>`)}</nav>`;
}
