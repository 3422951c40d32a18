// Starts the page: shows what the address names, and follows moves, the session and dialogs.
import { html, render, useEffect, useState } from "./lib/html.js";
import { visible } from "./lib/format.js";
import { onConnection } from "./lib/live.js";
import { go, onRoute, path, route } from "./lib/router.js";
import { may, onSession, session } from "./lib/session.js";
import { onDialog, openKeys } from "./parts/acts.js";
import { isKey } from "./parts/keys.js";
import { Banners, Header } from "./parts/shell.js";
import { Notices } from "./parts/notices.js";

// Pages are fetched when they are first shown, and all of them once the first one stands, so that the next is there at once.
const fetched = {
  overview: () => import("./pages/overview.js").then((m) => m.Overview),
  topic: () => import("./pages/topic.js").then((m) => m.Topic),
  channel: () => import("./pages/channel.js").then((m) => m.Channel),
  messages: () => import("./pages/messages.js").then((m) => m.Messages),
  message: () => import("./pages/message.js").then((m) => m.Message),
  nodes: () => import("./pages/nodes.js").then((m) => m.Nodes),
  node: () => import("./pages/node.js").then((m) => m.Node),
  lookup: () => import("./pages/lookup.js").then((m) => m.Lookup),
  consumers: () => import("./pages/consumers.js").then((m) => m.Consumers),
  consumer: () => import("./pages/consumers.js").then((m) => m.Consumer),
  "sign-in": () => import("./pages/signin.js").then((m) => m.SignIn),
};
const pages = {};

async function fetchPage(name) {
  if (fetched[name]) pages[name] ??= await fetched[name]();
}

/** usePage holds the component of a page, null until it is there. */
function usePage(name) {
  const [, arrived] = useState(0);
  const page = pages[name];
  useEffect(() => {
    if (page) return;
    let again = 0;
    // Asked again even if it has come since it was missing here: nobody else would show it. And as long as admind does not answer.
    const ask = () => fetchPage(name).then(() => arrived((n) => n + 1), () => { again = setTimeout(ask, 2000); });
    ask();
    return () => clearTimeout(again);
  }, [name]);
  return fetched[name] ? page ?? null : Missing;
}

function App() {
  const [at, setAt] = useState(route(location));
  const [who, setWho] = useState(session);
  const [dialog, setDialog] = useState(null);
  const [lost, setLost] = useState(false); // what is shown is not of now: it is dimmed
  useEffect(() => onConnection(({ state }) => setLost(state === "lost")), []);
  useEffect(() => onRoute((to) => { setDialog(null); setAt(to); }), []);
  useEffect(() => {
    const key = (event) => {
      if (!isKey(event, "?")) return;
      event.preventDefault();
      openKeys();
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);
  useEffect(() => onSession((next) => setWho(next)), []);
  useEffect(() => onDialog((view) => setDialog(view ? { view } : null)), []);
  useEffect(() => { if (at.page === "sign-in" && !who.must_sign_in) go(path.overview(), { replace: true }); }, [at, who]);
  useEffect(() => { document.title = title(at); }, [at]);

  const Page = usePage(who.must_sign_in ? "sign-in" : at.page);
  if (who.must_sign_in) return html`<${Banners} session=${who} />${Page && html`<${Page} session=${who} />`}<${Notices} />`;
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Header} route=${at} session=${who} />
    <${Banners} session=${who} />
    <main id="main" tabindex="-1" class=${lost ? "stopped" : ""}>${Page && html`<${Page} key=${JSON.stringify(at)} ...${at} acts=${at.topic ? may("manages", at.topic) : who.role === "operator"} session=${who} />`}</main>
    <${Notices} />${dialog?.view()}`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function title({ page, topic, channel, node, client, id }) {
  if (page === "message") return `${visible(id)} of ${visible(topic)} – admind`;
  const named = visible(channel ? `${topic} / ${channel}` : topic ?? node ?? client ?? { overview: "Overview", nodes: "Nodes", lookup: "Lookup", consumers: "Consumers", "sign-in": "Sign in" }[page]);
  return named ? `${named} – admind` : "admind";
}

const Missing = () => html`<div class="blank"><h1>No such page</h1><p><a href=${path.overview()}>To the overview</a></p></div>`;

await fetchPage(session.must_sign_in ? "sign-in" : route(location).page);
render(html`<${App} />`, document.getElementById("app"));
setTimeout(() => Object.keys(fetched).forEach((name) => fetchPage(name).catch(() => {})), 1500); // one that did not come is asked for when it is shown
