// Who is looking, and what admind said about itself when the page was served.
import { base } from "./router.js";

/** session is the newest answer of GET api/session; hold it through useSession where a page must follow its changes. */
export let session = JSON.parse(document.getElementById("session").textContent);

const listeners = new Set();

/** onSession calls f whenever the session changes; it returns how to stop that. */
export function onSession(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

/** adopt takes a new session as the truth. */
export function adopt(next) {
  session = next;
  for (const f of listeners) f(next);
}

/** refresh asks who we are, after a refusal or a lost connection. */
export async function refresh() {
  const answer = await fetch(`${base}api/session`, { headers: { Accept: "application/json" } });
  if (answer.ok) adopt(await answer.json());
  return session;
}

/** may says whether the viewer "sees", "manages", "publishes" to, or "reads" the messages of a topic. The server decides; this only spares him the refusal. */
export const may = (what, topic) => (session[what] ?? []).some((pattern) => matcher(pattern).test(topic));

const matchers = new Map();

/** matcher is a pattern of names, of which *, ?, [a-z] and [^a-z] mean something, as an expression. */
function matcher(pattern) {
  if (!matchers.has(pattern)) {
    const source = pattern.replace(/\\.|\[\^?|[\]*?]|[.+$(){}|^/]/g, (c) => ({ "*": ".*", "?": ".", "[": "[", "[^": "[^", "]": "]" })[c] ?? (c.length > 1 ? c : "\\" + c));
    matchers.set(pattern, new RegExp(`^${source}$`));
  }
  return matchers.get(pattern);
}
