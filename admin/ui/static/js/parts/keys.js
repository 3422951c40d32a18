// The keys that the page knows, and a dialog that tells them: "?" opens it from anywhere.
import { html } from "../lib/html.js";
import { Dialog } from "./dialog.js";

const keys = [["/", "search topics, channels, nodes and consumers"], ["?", "these keys"], ["↑, ↓", "in a list: the row above or below; in the search: what to go to"],
  ["Page Up, Page Down", "in a list: fifteen rows on"], ["Home, End", "in a list: its first or last row"], ["Enter", "open what is chosen, or do what a dialog asks"],
  ["Esc", "leave the search or a dialog; nothing is done"], ["Tab", "the next link, field or button"]];

/** Keys is the dialog. */
export const Keys = ({ onClose }) => html`<${Dialog} title="Keys" onClose=${onClose}><dl class="keys">${keys.map(([key, text]) => html`<div key=${key}>
  <dt>${key.split(", ").map((k) => html`<kbd key=${k}>${k}</kbd> `)}</dt><dd>${text}</dd></div>`)}</dl>
  <div class="buttons"><button type="button" data-first onClick=${onClose}>Close</button></div></${Dialog}>`;

const typing = "input, textarea, select, [contenteditable]";

/** isKey says whether a key that was pressed is one of the page's own, and not part of what somebody types. */
export const isKey = (event, key) => event.key === key && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.closest?.(typing) && !document.querySelector("dialog[open]");
