// Reading again and passing over: dialogs that say beforehand how many messages are concerned.
import { html, useEffect, useState } from "../lib/html.js";
import { act, get } from "../lib/api.js";
import { plural, visible } from "../lib/format.js";
import { esc } from "../lib/router.js";
import { ActDialog } from "./dialog.js";

const verbs = {
  rewind: { title: "Rewind", verb: "Rewind", say: (n) => `${n} will wait once more`,
    about: "What the topic keeps is delivered again from a place on, each message once, also what is finished. What is in flight from there on is taken back.",
    places: [["beginning", "from the beginning of what is kept"], ["time", "from a time on"]] },
  skip: { title: "Skip", verb: "Skip", danger: true, say: (n) => `${n} will be discarded`,
    about: "What waits before a place is discarded on this channel, for good. What is in flight or deferred stays. Other channels keep theirs.",
    places: [["end", "all that waits"], ["time", "what came before a time"]] },
};

/** MoveDialog asks for a place, shows what would happen, and has it done. done(text) makes what tells of it. */
export function MoveDialog({ action, topic, channel, onClose, done }) {
  const of = verbs[action];
  const [kind, setKind] = useState(of.places[0][0]);
  const [time, setTime] = useState("");
  const [would, setWould] = useState({});
  const to = kind !== "time" ? kind : time && !Number.isNaN(Date.parse(time)) ? new Date(time).toISOString() : "";
  useEffect(() => {
    setWould({});
    if (!to) return undefined;
    const stop = new AbortController();
    const soon = setTimeout(async () => {
      try { setWould(await get(`preview/${esc(topic)}/${esc(channel)}`, { action, to }, stop.signal)); } catch (error) {
        if (error.name !== "AbortError") setWould({ errors: [error.message] });
      }
    }, 150);
    return () => { stop.abort(); clearTimeout(soon); };
  }, [to]);
  const able = would.nodes?.length > 0;
  return html`<${ActDialog} title=${`${of.title} ${channel}`} verb=${of.verb} danger=${of.danger} name=${of.danger && channel} noun="channel" ready=${able} about=${of.about} onClose=${onClose}
    run=${() => act.move(action, topic, channel, to).then(done(`${action === "skip" ? "Skipped" : "Rewound"} ${topic} / ${channel}`))}>
    <fieldset class="choices"><legend class="sr">Place</legend>${of.places.map(([name, text], i) => html`<label key=${name}>
      <input type="radio" name="place" data-first=${i === 0 || undefined} checked=${name === kind} onChange=${() => setKind(name)} /> ${text}</label>`)}</fieldset>
    ${kind === "time" && html`<label class="field">Time, in the zone of this computer<input type="datetime-local" step="1" value=${time} onInput=${(e) => setTime(e.target.value)} /></label>`}
    <p class="would" role="status">${able ? html`<b>${of.say(plural(would.messages, "message"))}</b>, on ${plural(would.nodes.length, "node")}${would.truncated ? ": the place is before all that is kept" : ""}.`
      : to && !would.errors ? "Counting…" : html`<span class="muted">${to ? "No node can do it." : "Name a time."}</span>`}</p>
    ${would.errors?.map((text) => html`<p class="note bad" role="alert" key=${text}>${visible(text)}</p>`)}
  </${ActDialog}>`;
}
