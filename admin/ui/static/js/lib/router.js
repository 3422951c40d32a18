// Paths of pages, and moving between them without a reload. A page's address is what nsqadmin's was, so that bookmarks hold.

/** base is the path that everything lies under, with a slash at its end. */
export const base = document.querySelector('meta[name="base-path"]').content;

/** esc makes a name part of a path. Browsers take . and .. for steps, though both are names: a ~, which no name has, stands before them. */
export const esc = (name) => (name === "." || name === ".." ? "~" : "") + encodeURIComponent(name);

/** path holds how each page's address is made. */
export const path = {
  overview: () => base,
  topic: (t) => `${base}topics/${esc(t)}`,
  channel: (t, c) => `${base}topics/${esc(t)}/${esc(c)}`,
  messages: (t, c, state) => `${c ? path.channel(t, c) : path.topic(t)}?messages=${state ?? (c ? "waiting" : "kept")}`,
  message: (t, { id, node, position }) => `${path.topic(t)}?message=${esc(id)}&node=${esc(node)}&position=${position}`,
  nodes: () => `${base}nodes`,
  node: (n) => `${base}nodes/${esc(n)}`,
  lookup: () => `${base}lookup`,
  consumers: () => `${base}consumers`,
  consumer: (c) => `${base}consumers?client=${esc(c)}`,
  signIn: () => `${base}sign-in`,
};

/** route says which page an address names: { page, ...names }. */
export function route({ pathname, search = "" }) {
  if (pathname + "/" === base) return { page: "overview" };
  if (!pathname.startsWith(base)) return { page: "missing" };
  const [first, second, third, ...more] = pathname.slice(base.length).split("/").filter(Boolean).map(decode);
  const depth = more.length ? 4 : third != null ? 3 : second != null ? 2 : first != null ? 1 : 0;
  switch (`${first ?? ""}/${depth}`) {
    case "/0": case "topics/1": case "counter/1": return { page: "overview" };
    case "search/1": return { page: "overview", query: new URLSearchParams(search).get("q") ?? "" };
    case "topics/2": case "topics/3": return ofTopic(new URLSearchParams(search), { topic: second, ...(third != null && { channel: third }) });
    case "nodes/1": return { page: "nodes" };
    case "nodes/2": return { page: "node", node: second };
    case "lookup/1": return { page: "lookup" };
    case "consumers/1": {
      const client = new URLSearchParams(search).get("client");
      return client ? { page: "consumer", client } : { page: "consumers" };
    }
    case "sign-in/1": return { page: "sign-in" };
  }
  return { page: "missing" };
}

/** ofTopic says which of the pages of a topic or channel is meant: its figures, its messages, or one of these. */
function ofTopic(q, of) {
  if (q.has("message") && !of.channel) return { page: "message", ...of, id: q.get("message"), node: q.get("node") ?? "", position: q.get("position") ?? "" };
  if (q.has("messages")) return { page: "messages", ...of, state: q.get("messages") };
  return { page: of.channel == null ? "topic" : "channel", ...of };
}

function decode(part) {
  try { part = decodeURIComponent(part); } catch { /* as it is */ }
  return part.replace(/^~/, "");
}

const listeners = new Set();

/** onRoute calls f with the new route on each move; it returns how to stop that. */
export function onRoute(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

/** go moves to an address of ours. */
export function go(href, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", href);
  scrollTo(0, 0);
  moved();
}

function moved() {
  const to = route(location);
  for (const f of listeners) f(to);
}

addEventListener("popstate", moved);
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const to = new URL(link.href);
  if (link.target || link.hash || to.origin !== location.origin || route(to).page === "missing") return;
  event.preventDefault();
  go(to.href);
});
