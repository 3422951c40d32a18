// One stream of server-sent events per page. The browser reconnects by itself; what is lost meanwhile is shown as such.
import { useEffect, useState } from "./html.js";
import { base } from "./router.js";
import { query } from "./api.js";
import { refresh } from "./session.js";

const listeners = new Set();
let connection = { state: "connecting", since: Date.now() };

/** onConnection calls f with { state: "connecting" | "live" | "lost", since } at once and when it changes; it returns how to stop that. */
export function onConnection(f) {
  listeners.add(f);
  f(connection);
  return () => listeners.delete(f);
}

function turn(state) {
  if (connection.state === state) return;
  connection = { state, since: Date.now() };
  for (const f of listeners) f(connection);
}

/**
 * watch opens the stream of a view. on.view gets each new body, on.topics the changes of the list of topics, on.gone the reason why there is
 * nothing to show. It returns how to stop.
 */
export function watch(view, on) {
  let source = null, again = 0, stopped = false;
  const open = () => {
    clearTimeout(again);
    source?.close();
    source = new EventSource(`${base}api/events?${query(view)}`);
    source.onopen = () => turn("live");
    source.addEventListener("view", (event) => { turn("live"); on.view(JSON.parse(event.data)); });
    source.addEventListener("topics", (event) => on.topics?.(JSON.parse(event.data)));
    source.addEventListener("gone", (event) => { stop(); on.gone?.(JSON.parse(event.data).message); });
    source.onerror = lost;
  };
  const lost = () => {
    if (stopped) return;
    turn("lost");
    const final = source.readyState === EventSource.CLOSED; // refused: the browser does not try again, so we do
    refresh().catch(() => {});
    if (final) {
      clearTimeout(again);
      again = setTimeout(() => stopped || open(), 2000);
    }
  };
  const stop = () => {
    stopped = true;
    document.removeEventListener("visibilitychange", rest);
    clearTimeout(again);
    source?.close();
  };
  // A page that nobody sees gives its connection back: browsers have only six for all pages of a server.
  const rest = () => {
    clearTimeout(again);
    if (document.hidden) again = setTimeout(() => { source?.close(); source = null; }, 5000);
    else if (!source || source.readyState === EventSource.CLOSED) open();
  };
  document.addEventListener("visibilitychange", rest);
  turn("connecting");
  open();
  return stop;
}

/** useView holds the newest body of a view: { data, gone }. It starts anew when what is looked at changes. */
export function useView(view) {
  const key = query(view);
  const [state, setState] = useState({ key });
  useEffect(() => {
    setState({ key });
    return watch(view, {
      view: (data) => setState({ key, data }),
      gone: (message) => setState({ key, gone: message }),
    });
  }, [key]);
  return state.key === key ? state : { key };
}

/** useTopics is useView for the overview, with the list of topics kept as an array whose rows change by being replaced. */
export function useTopics() {
  const [state, setState] = useState({});
  useEffect(() => {
    const rows = new Map();
    return watch({ view: "overview" }, {
      view: (data) => setState((was) => ({ ...was, data })),
      topics: (change) => {
        if (change.reset) rows.clear();
        for (const row of change.rows) rows.set(row.topic, row);
        for (const topic of change.removed) rows.delete(topic);
        setState((was) => ({ ...was, rows: [...rows.values()] }));
      },
    });
  }, []);
  return state;
}
