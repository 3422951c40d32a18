// One stream of server-sent events per page. The browser reconnects by itself; what is lost meanwhile is shown as such.
import { useEffect, useState } from "./html.js";
import { base } from "./router.js";
import { query } from "./api.js";
import { refresh } from "./session.js";

const patience = 4; // times that a stream may say "gone" before it is believed of what has not been seen yet
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
 * watch opens the stream of a view. on.view gets each new body, on.topics the changes of the list of topics (of a row that is known only its changed figures), on.gone the reason why there is
 * nothing to show; what was just made may take a moment to be known, and what was deleted may come back, so it is asked for again. It returns
 * how to stop.
 */
export function watch(view, on) {
  let source = null, again = 0, stopped = false, missed = 0;
  const later = (wait, f) => {
    clearTimeout(again);
    again = setTimeout(() => stopped || f(), wait);
  };
  const close = () => { source?.close(); source = null; };
  const open = () => {
    clearTimeout(again);
    close();
    source = new EventSource(`${base}api/events?${query(view)}`);
    source.onopen = () => turn("live");
    source.addEventListener("view", (event) => { turn("live"); missed = patience; on.view(JSON.parse(event.data)); });
    source.addEventListener("topics", (event) => on.topics?.(JSON.parse(event.data)));
    source.addEventListener("gone", (event) => gone(JSON.parse(event.data).message));
    source.onerror = lost;
  };
  const gone = (message) => {
    close();
    missed++;
    if (missed > patience) on.gone?.(message);
    later(missed > patience ? 3000 : 300, open);
  };
  const lost = () => {
    turn("lost");
    refresh().catch(() => {});
    if (source?.readyState === EventSource.CLOSED) later(2000, open); // refused: the browser does not try again
  };
  // A page that nobody sees gives its connection back: browsers have only six for all pages of a server.
  const rest = () => {
    if (document.hidden) later(5000, close);
    else if (!source || source.readyState === EventSource.CLOSED) open();
    else clearTimeout(again);
  };
  document.addEventListener("visibilitychange", rest);
  turn("connecting");
  open();
  return () => {
    stopped = true;
    document.removeEventListener("visibilitychange", rest);
    clearTimeout(again);
    close();
  };
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
        for (const row of change.rows) rows.set(row.topic, { ...rows.get(row.topic), ...row });
        for (const topic of change.removed) rows.delete(topic);
        setState((was) => ({ ...was, rows: [...rows.values()] }));
      },
    });
  }, []);
  return state;
}
