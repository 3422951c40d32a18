// What is around every page: the head with its navigation, the state of the connection, warnings.
import { html, useEffect, useState } from "../lib/html.js";
import { base, path } from "../lib/router.js";
import { onConnection } from "../lib/live.js";
import { current, onChange, toggle } from "../lib/theme.js";
import { signOut } from "../lib/api.js";
import { openKeys } from "./acts.js";
import { Age } from "./figures.js";
import { Search } from "./search.js";
import { notify } from "./notices.js";

const pages = [["overview", "Overview", ["overview", "topic", "channel", "messages", "message"]], ["nodes", "Nodes", ["nodes", "node"]],
  ["consumers", "Consumers", ["consumers", "consumer"]], ["lookup", "Lookup", ["lookup"]]];

/** Header is the bar at the top. */
export function Header({ route, session }) {
  return html`<header class="bar">
    <a class="brand" href=${path.overview()}>admind</a>
    <nav aria-label="Pages">${pages.map(([page, label, on]) => html`<a key=${page} href=${path[page]()} aria-current=${on.includes(route.page) ? "page" : undefined}>${label}</a>`)}<a href=${base + "docs/"}>Docs</a></nav>
    <${Search} key=${route.query ?? ""} initial=${route.query} />
    <div class="ends"><${Connection} /><${KeysButton} /><${ThemeButton} /><${User} session=${session} /></div>
  </header>`;
}

function useConnection() {
  const [connection, setConnection] = useState({ state: "connecting", since: 0 });
  useEffect(() => onConnection(setConnection), []);
  return connection;
}

const states = { connecting: "Connecting", live: "Live", lost: "Not connected" };

function Connection() {
  const { state } = useConnection();
  return html`<span class=${"connection " + state} role="status"><i aria-hidden="true" />${states[state]}</span>`;
}

/** Lost says since when nothing has come in. */
function Lost() {
  const { state, since } = useConnection();
  return state === "lost" && html`<p class="lost">No connection to admind for <${Age} since=${since / 1000} />. What is shown is from then; trying again.</p>`;
}

function ThemeButton() {
  const [theme, setTheme] = useState(current());
  useEffect(() => onChange(() => setTheme(current())), []);
  const next = theme === "dark" ? "light" : "dark";
  return html`<button type="button" class="plain icon" onClick=${toggle} aria-label=${`Show in ${next} colours`} title=${`Show in ${next} colours`}>
    <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><circle cx="8" cy="8" r="6.25" fill="none" stroke="currentColor" stroke-width="1.5" /><path d="M8 1.75a6.25 6.25 0 0 1 0 12.5z" fill="currentColor" /></svg></button>`;
}

const KeysButton = () => html`<button type="button" class="plain icon roomy" onClick=${openKeys} aria-label="Keys" title="Keys: ?"><kbd aria-hidden="true">?</kbd></button>`;

/** limited reports whether somebody may do more on some topics than on others. */
const limited = (session) => !(session.role === "operator" ? session.manages : session.sees).includes("*");

function User({ session }) {
  if (!session.user) return null;
  const leave = () => signOut().catch((error) => notify("bad", error.message));
  return html`<span class="user"><b>${session.user}</b> <span class="muted" title=${limited(session) ? `Sees ${session.sees.join(", ")}; changes ${session.manages.join(", ") || "nothing"}` : undefined}>${session.role}${limited(session) && " of some topics"}</span></span>
    ${session.sign_in === "users" && html`<button type="button" onClick=${leave}>Sign out</button>`}`;
}

/** Banners are the warnings about admind itself, and about the connection to it. */
export const Banners = ({ session }) => html`<div class="banners" role="region" aria-label="Warnings" aria-live="polite">
  ${session.warnings?.map((w) => html`<p key=${w}>${w}</p>`)}<${Lost} /></div>`;
