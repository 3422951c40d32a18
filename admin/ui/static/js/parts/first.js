// What to do first: shown until there is a topic, and it follows what was done.
import { html } from "../lib/html.js";
import { visible } from "../lib/format.js";
import { ask } from "./acts.js";
import { Command } from "./copy.js";
import { Name } from "./figures.js";

/** FirstSteps leads from nothing to the first message that was consumed. nodes: some of the brokers that are there. */
export function FirstSteps({ nodes, session, acts }) {
  const node = nodes.find((n) => !n.stale) ?? nodes[0];
  const lookups = session.mode === "lookupd" ? session.lookups : null;
  const at = node && !node.stale ? visible(node.node) : "127.0.0.1:4151";
  const tcp = node && !node.stale ? `${visible(node.broadcast_address)}:${node.tcp_port}` : "127.0.0.1:4150";
  return html`<section class="first" aria-labelledby="first"><h2 id="first">${node ? "No topic yet" : "No broker yet"}</h2>
    <p class="muted">Three steps from here to a message that was consumed. This page follows along.</p>
    <ol>
      <${Step} title="Start a broker" done=${node && !node.stale}>
        ${node ? html`<p><${Name}>${node.node}</${Name}> is here.</p>` : lookups ? html`<p>None has registered with <${Name}>${lookups.join(", ")}</${Name}>. Start one that does; the lookup's TCP port is 4160 unless it was told another:</p>
          <${Command} text=${`brokerd --lookupd-tcp-address=${host(lookups[0])}:4160`} />`
          : html`<p>None of the brokers that admind was given has answered. Start one there:</p><${Command} text="brokerd" />`}</${Step}>
      <${Step} title="Publish a message">
        <p>The first message makes the topic:</p><${Command} text=${`curl -d 'first message' 'http://${at}/pub?topic=hello'`} />
        ${acts && node && html`<p class="muted">Or <button type="button" class="small" onClick=${() => ask.create()}>Create topic</button> ahead.</p>`}</${Step}>
      <${Step} title="Consume it">
        <p>A consumer makes its channel, and gets what waits there:</p><${Command} text=${`brokerctl tail --nsqd-tcp-address=${tcp} --topic=hello --channel=first`} /></${Step}>
    </ol></section>`;
}

const host = (address) => visible(address).replace(/:\d+$/, "");

const Step = ({ title, done, children }) => html`<li class=${done ? "done" : ""}><h3>${title}${done && html` <span class="badge">done</span>`}</h3>${children}</li>`;
