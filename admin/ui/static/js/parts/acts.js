// Everything that can be done, each with the dialog that asks first. What destroys messages asks for the name to be typed.
import { html, useState } from "../lib/html.js";
import { act, get } from "../lib/api.js";
import { esc, go, path } from "../lib/router.js";
import { visible } from "../lib/format.js";
import { ActDialog } from "./dialog.js";
import { Keys } from "./keys.js";
import { notify } from "./notices.js";

let show = () => {};

/** onDialog names the place where dialogs are shown: f gets a function that renders one, or null. */
export function onDialog(f) { show = f; }

const close = () => show(null);
const open = (render) => show(() => render());

/** openKeys shows the keys that the page knows. */
export const openKeys = () => open(() => html`<${Keys} onClose=${close} />`);

/** done tells how an act went: whole, or in part. */
function done(text) {
  return (answer) => {
    if (answer?.message) notify("warning", `${text}, but not everywhere. ${answer.message.replace(/^WARNING: /, "")}`, answer.results);
    else notify("good", text + ".");
    return answer;
  };
}

const failed = (error) => notify("bad", error.message);

export const ask = {
  pauseTopic: (topic) => open(() => html`<${ActDialog} title="Pause topic" verb="Pause" onClose=${close}
    about="Messages keep coming in and wait at the topic. Its channels get none until it is unpaused."
    run=${() => act.topic(topic, "pause").then(done(`Paused ${topic}`))} />`),
  unpauseTopic: (topic) => act.topic(topic, "unpause").then(done(`Unpaused ${topic}`)).catch(failed),
  emptyTopic: (topic) => open(() => html`<${ActDialog} title="Empty topic" verb="Empty" danger name=${topic} noun="topic" onClose=${close}
    about="Discards the messages that wait at the topic itself, on every node. What its channels hold stays."
    run=${() => act.topic(topic, "empty").then(done(`Emptied ${topic}`))} />`),
  deleteTopic: (topic, { leave = true } = {}) => open(() => html`<${ActDialog} title="Delete topic" verb="Delete" danger name=${topic} noun="topic" onClose=${close}
    about="Deletes the topic, its channels and all their messages, on every node and lookup. Consumers are disconnected. It comes back, empty, if a producer publishes again."
    run=${() => act.deleteTopic(topic).then(done(`Deleted ${topic}`)).then(() => leave && go(path.overview()))} />`),

  pauseChannel: (topic, channel) => open(() => html`<${ActDialog} title="Pause channel" verb="Pause" onClose=${close}
    about="Messages keep coming in and wait. Consumers get none until it is unpaused."
    run=${() => act.channel(topic, channel, "pause").then(done(`Paused ${topic} / ${channel}`))} />`),
  unpauseChannel: (topic, channel) => act.channel(topic, channel, "unpause").then(done(`Unpaused ${topic} / ${channel}`)).catch(failed),
  redrive: (topic, channel) => open(() => html`<${ActDialog} title="Send dead letters back" verb="Send back" onClose=${close}
    about=${`Each dead letter of ${channel} goes back to it once and is delivered as if for the first time, on every node. What consumers of the dead letter topic have stays. Mend first what they failed on.`}
    run=${() => act.redrive(topic, channel).then(done(`Sending dead letters back to ${topic} / ${channel}`))} />`),
  stopRedrive: (topic, channel) => act.stopRedrive(topic, channel).then(done(`Stopped sending dead letters back to ${topic} / ${channel}`)).catch(failed),
  cancelMessage: (topic, channel, m, then) => open(() => html`<${ActDialog} title="Cancel message" verb="Drop it" danger onClose=${close}
    about=${`Drops the message ${m.id} on ${channel} for good: it is not delivered there. Other channels keep it.`}
    run=${() => act.message("cancel_message", topic, channel, m.node, m.position, m.id).then(done(`Cancelled ${m.id} on ${topic} / ${channel}`)).then(then)} />`),
  releaseMessage: (topic, channel, m, then) => act.message("release_message", topic, channel, m.node, m.position, m.id)
    .then(done(`Released ${m.id} on ${topic} / ${channel}`)).catch(failed).then(then),
  finishMessage: (topic, on, id, then) => open(() => html`<${ActDialog} title="Finish message by hand" verb="Finish it" danger onClose=${close}
    about=${`Takes the message ${id} off ${on.channel} for good, as if it had been dealt with. A consumer that has it is told so with its answer. Other channels keep it.`}
    run=${() => act.finishMessage(topic, on.channel, on.node, on.position, id).then(done(`Finished ${id} on ${topic} / ${on.channel}`)).then(then)} />`),
  publishAgain: (topic, m) => open(() => html`<${ActDialog} title="Publish again" verb="Publish" onClose=${close}
    about=${`Publishes a new message with the same body to ${topic} on ${visible(m.node)}. Every channel of the topic gets it, also those that are done with this one.`}
    run=${() => publishAgain(topic, m)} />`),
  rewind: (topic, channel) => move("rewind", topic, channel),
  skip: (topic, channel) => move("skip", topic, channel),
  emptyChannel: (topic, channel) => open(() => html`<${ActDialog} title="Empty channel" verb="Empty" danger name=${channel} noun="channel" onClose=${close}
    about="Discards every message that waits, is in flight or is deferred on this channel, on every node."
    run=${() => act.channel(topic, channel, "empty").then(done(`Emptied ${topic} / ${channel}`))} />`),
  deleteChannel: (topic, channel, { leave = true } = {}) => open(() => html`<${ActDialog} title="Delete channel" verb="Delete" danger name=${channel} noun="channel" onClose=${close}
    about="Deletes the channel and its messages, on every node and lookup. Consumers are disconnected; one that reconnects makes it anew, from then on."
    run=${() => act.deleteChannel(topic, channel).then(done(`Deleted ${topic} / ${channel}`)).then(() => leave && go(path.topic(topic)))} />`),

  tombstone: (node, topic) => open(() => html`<${ActDialog} title="Tombstone" verb="Tombstone" danger name=${topic} noun="topic" onClose=${close}
    about=${`Hides ${node} from consumers that look for ${topic}, for a while, and deletes the topic with its messages on that node only.`}
    run=${() => act.tombstone(node, topic).then(done(`Tombstoned ${topic} on ${node}`))} />`),

  dismiss: (node) => open(() => html`<${ActDialog} title=${`Dismiss ${visible(node)}`} verb="Dismiss" danger onClose=${close}
    about="Says that this node is not coming back: it is no longer shown, nor missed after a restart of admind. Nothing on its disk is touched. If it answers again, it is shown again."
    run=${() => act.dismiss(node).then(done(`Dismissed ${visible(node)}`)).then(() => go(path.nodes()))} />`),

  create: (topic) => open(() => html`<${CreateDialog} topic=${topic} />`),
  publish: (topic, nodes) => open(() => html`<${PublishDialog} topic=${topic} nodes=${nodes} />`),
  durability: (topic, now) => open(() => html`<${DurabilityDialog} topic=${topic} now=${now} />`),
};

/** move opens the dialog of a rewind or a skip, whose code is fetched when it is first needed. */
const move = (action, topic, channel) => import("./move.js").then(({ MoveDialog }) => open(() => html`<${MoveDialog} action=${action} topic=${topic} channel=${channel} onClose=${close} done=${done} />`), failed);

/** publishAgain publishes a message's whole body once more, byte for byte. */
async function publishAgain(topic, m) {
  const { list } = await get(`message/${esc(topic)}`, { node: m.node, position: m.position, body: "full" });
  const whole = list.find((t) => t.id === m.id);
  if (!whole) throw new Error("The message is not there any more.");
  const body = whole.body != null ? { body: whole.body } : { body: whole.body_base64 ?? "", base64: true };
  done(`Published to ${topic} on ${visible(m.node)}`)(await act.publish({ topic, node: m.node, ...body }));
}

const validName = /^[.a-zA-Z0-9_-]+(#ephemeral)?$/;
/** isName says whether a broker can have a topic or channel of that name. */
export const isName = (name) => name.length <= 64 && validName.test(name);

function NameField({ label, value, onInput, first, optional }) {
  const bad = value !== "" && !isName(value), hint = `hint-${label}`;
  return html`<div class="field"><label>${label}${optional && html` <span class="muted">optional</span>`}
    <input data-first=${first || undefined} value=${value} onInput=${(e) => onInput(e.target.value)} aria-invalid=${bad} aria-describedby=${bad ? hint : undefined}
      spellcheck=${false} autocapitalize="off" autocomplete="off" maxlength="64" required=${!optional} /></label>
    ${bad && html`<span class="hint bad" id=${hint}>Letters, digits, dots, dashes and underscores, up to 64; it may end in #ephemeral.</span>`}</div>`;
}

function CreateDialog({ topic: given }) {
  const [topic, setTopic] = useState(given ?? "");
  const [channel, setChannel] = useState("");
  const ready = isName(topic) && (channel === "" ? !given : isName(channel));
  const run = async () => {
    const answer = await (channel ? act.createChannel(topic, channel) : act.createTopic(topic));
    done(channel ? `Created ${topic} / ${channel}` : `Created ${topic}`)(answer);
    if (!given) go(path.topic(topic));
  };
  return html`<${ActDialog} title=${given ? `Create a channel of ${given}` : "Create topic"} verb="Create" ready=${ready} run=${run} onClose=${close}>
    ${!given && html`<${NameField} label="Topic" value=${topic} onInput=${setTopic} first />`}
    <${NameField} label="Channel" value=${channel} onInput=${setChannel} first=${!!given} optional=${!given} />
    <p class="muted">${given ? "A channel gets a copy of every message from its creation on." : "The first message would create it too; creating it ahead lets consumers find it."}</p>
  </${ActDialog}>`;
}

function PublishDialog({ topic, nodes }) {
  const [body, setBody] = useState("");
  const [node, setNode] = useState("");
  const [defer, setDefer] = useState("");
  const run = async () => {
    const answer = await act.publish({ topic, body, ...(node && { node }), ...(defer && { defer_ms: Math.round(Number(defer) * 1000) }) });
    done(`Published to ${topic} on ${answer.node}`)(answer);
  };
  return html`<${ActDialog} title=${`Publish to ${topic}`} verb="Publish" ready=${body !== ""} run=${run} onClose=${close}>
    <label class="field">Message<textarea data-first rows="5" value=${body} onInput=${(e) => setBody(e.target.value)} spellcheck=${false} /></label>
    <div class="fields">
      <label class="field">Node<select value=${node} onChange=${(e) => setNode(e.target.value)}>
        <option value="">any that has the topic</option>${nodes.map((n) => html`<option key=${n} value=${n}>${n}</option>`)}</select></label>
      <label class="field">Deliver after, seconds <input type="number" min="0" step="any" value=${defer} placeholder="at once" onInput=${(e) => setDefer(e.target.value)} /></label>
    </div>
    <p class="muted">Every channel of the topic gets it, and so do its consumers.</p>
  </${ActDialog}>`;
}

function DurabilityDialog({ topic, now }) {
  const [level, setLevel] = useState(["memory", "disk", "fsync"].includes(now) ? now : "disk");
  const levels = [["memory", "OK once it is in memory; survives a clean exit"], ["disk", "OK once it is written; survives a crash of the broker"],
    ["fsync", "OK once it is synced; survives a loss of power"]];
  return html`<${ActDialog} title=${`Durability of ${topic}`} verb="Set" onClose=${close}
    run=${() => act.setDurability(topic, level).then(done(`Set ${topic} to ${level}`))}>
    <fieldset class="choices"><legend class="sr">Level</legend>${levels.map(([name, text]) => html`<label key=${name}>
      <input type="radio" name="level" data-first=${name === level || undefined} checked=${name === level} onChange=${() => setLevel(name)} /> <b>${name}</b> <span class="muted">${text}</span></label>`)}</fieldset>
  </${ActDialog}>`;
}
