// Asking admind, and telling it what to do. A refusal becomes an Error with the server's own text.
import { base, esc } from "./router.js";
import { adopt, refresh, session } from "./session.js";

/** query makes a query string of what has a value; a list repeats its name. */
export function query(values) {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) if (one != null && one !== "") q.append(name, one);
  }
  return q.toString();
}

/** get asks for api/<path>. */
export const get = (path, values = {}, signal) => send("GET", path + "?" + query(values), undefined, signal);

async function send(method, path, body, signal) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") Object.assign(headers, { "Content-Type": "application/json", "X-CSRF-Token": session.csrf ?? "" });
  let answer;
  try {
    answer = await fetch(`${base}api/${path}`, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("admind does not answer");
  }
  const text = await answer.text();
  let decoded = null;
  try { decoded = JSON.parse(text); } catch { /* the status says what happened */ }
  if (answer.ok) return decoded;
  if (path !== "session" && (answer.status === 401 || answer.status === 403)) refresh().catch(() => {});
  const failure = new Error(decoded?.message || `${answer.status} ${answer.statusText}`);
  failure.status = answer.status;
  failure.retryAfter = Number(answer.headers.get("Retry-After")) || 0;
  throw failure;
}

/** act holds everything that can be done. Each resolves to { message, results }: a message is a warning about a part that failed. */
export const act = {
  createTopic: (topic) => send("POST", "topics", { topic }),
  createChannel: (topic, channel) => send("POST", "topics", { topic, channel }),
  topic: (topic, action) => send("POST", `topics/${esc(topic)}`, { action }),
  setDurability: (topic, durability) => send("POST", `topics/${esc(topic)}`, { action: "set_durability", durability }),
  setOptions: (topic, channel, options) => send("POST", `topics/${esc(topic)}${channel ? `/${esc(channel)}` : ""}`, { action: "set_options", options }),
  channel: (topic, channel, action) => send("POST", `topics/${esc(topic)}/${esc(channel)}`, { action }),
  redrive: (topic, channel) => send("POST", `topics/${esc(topic)}/${esc(channel)}`, { action: "redrive" }),
  stopRedrive: (topic, channel) => send("POST", `topics/${esc(topic)}/${esc(channel)}`, { action: "stop_redrive" }),
  message: (action, topic, channel, node, position, id) => send("POST", `topics/${esc(topic)}/${esc(channel)}`, { action, node, position, id }),
  finishMessage: (topic, channel, node, position, id) => send("POST", `topics/${esc(topic)}/${esc(channel)}`, { action: "finish_message", node, position, id }),
  move: (action, topic, channel, to) => send("POST", `topics/${esc(topic)}/${esc(channel)}`, { action, to }),
  deleteTopic: (topic) => send("DELETE", `topics/${esc(topic)}`),
  deleteChannel: (topic, channel) => send("DELETE", `topics/${esc(topic)}/${esc(channel)}`),
  tombstone: (node, topic) => send("DELETE", `nodes/${esc(node)}`, { topic }),
  dismiss: (node) => send("POST", `nodes/${esc(node)}`, { action: "dismiss" }),
  publish: (message) => send("POST", "publish", message),
};

/** signIn and signOut change who we are. */
export async function signIn(user, password) { adopt(await send("POST", "session", { user, password })); }
export async function signOut() { adopt(await send("DELETE", "session")); }
