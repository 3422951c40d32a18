// Starts the page: shows what the address names, and follows moves, the session and dialogs.
import { html, render, useEffect, useState } from "./lib/html.js";
import { go, onRoute, path, route } from "./lib/router.js";
import { onSession, session } from "./lib/session.js";
import { onDialog } from "./parts/acts.js";
import { Banners, Header } from "./parts/shell.js";
import { Notices } from "./parts/notices.js";
import { Overview } from "./pages/overview.js";
import { Topic } from "./pages/topic.js";
import { Channel } from "./pages/channel.js";
import { Nodes } from "./pages/nodes.js";
import { Node } from "./pages/node.js";
import { Lookup } from "./pages/lookup.js";
import { Consumer, Consumers } from "./pages/consumers.js";
import { SignIn } from "./pages/signin.js";

const pages = { overview: Overview, topic: Topic, channel: Channel, nodes: Nodes, node: Node, lookup: Lookup, consumers: Consumers, consumer: Consumer };

function App() {
  const [at, setAt] = useState(route(location));
  const [who, setWho] = useState(session);
  const [dialog, setDialog] = useState(null);
  useEffect(() => onRoute((to) => { setDialog(null); setAt(to); }), []);
  useEffect(() => onSession((next) => setWho(next)), []);
  useEffect(() => onDialog((view) => setDialog(view ? { view } : null)), []);
  useEffect(() => { if (at.page === "sign-in" && !who.must_sign_in) go(path.overview(), { replace: true }); }, [at, who]);
  useEffect(() => { document.title = title(at); }, [at]);

  if (who.must_sign_in) return html`<${Banners} session=${who} /><${SignIn} session=${who} /><${Notices} />`;
  const Page = pages[at.page] ?? Missing;
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Header} route=${at} session=${who} />
    <${Banners} session=${who} />
    <main id="main" tabindex="-1"><${Page} key=${JSON.stringify(at)} ...${at} acts=${who.role === "operator"} session=${who} /></main>
    <${Notices} />${dialog?.view()}`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function title({ page, topic, channel, node, client }) {
  const named = channel ? `${topic} / ${channel}` : topic ?? node ?? client ?? { overview: "Overview", nodes: "Nodes", lookup: "Lookup", consumers: "Consumers", "sign-in": "Sign in" }[page];
  return named ? `${named} – admind` : "admind";
}

const Missing = () => html`<div class="blank"><h1>No such page</h1><p><a href=${path.overview()}>To the overview</a></p></div>`;

render(html`<${App} />`, document.getElementById("app"));
