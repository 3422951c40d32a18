// What admind remembers: series for charts, and sparklines for rows that are in sight.
import { useEffect, useState } from "./html.js";
import { get } from "./api.js";

/**
 * useHistory holds { times, series, from, to, step } of a thing, in seconds, asked for again every step (at most every ten seconds apart).
 * of: { of: "topic", topic } and the like; figures, the newest totals of the page, become the last point meanwhile.
 */
export function useHistory(of, window, now, figures) {
  const key = JSON.stringify([of, window]);
  const [answer, setAnswer] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    let again = 0;
    const ask = async () => {
      let wait = 5000;
      try {
        const body = await get("history", { ...of, window }, stop.signal);
        setAnswer({ key, body });
        wait = Math.min(10000, body.step_ms);
      } catch { /* the stream's state tells that admind does not answer; the next turn asks again */ }
      if (!stop.signal.aborted) again = setTimeout(ask, wait);
    };
    ask();
    return () => { stop.abort(); clearTimeout(again); };
  }, [key]);
  return columns(answer?.key === key ? answer.body : null, now, figures);
}

/**
 * columns turns an answer into columns, without what lies before the first known point, and with figures as the newest point; figures are null when nothing is
 * known of now. Where nothing is known there is a gap, also at the end: a line that ends says so.
 */
export function columns(body, now, figures) {
  if (!body) return { times: [], series: {}, from: null, to: null };
  const names = Object.keys(body.series), step = body.step_ms / 1000, start = body.start / 1000;
  const known = (i) => names.some((n) => body.series[n][i] != null);
  let first = 0;
  while (first < body.points && !known(first)) first++;
  let last = body.points - 1;
  while (last >= first && !known(last)) last--;
  const end = now ? now / 1000 : start + body.points * step;
  const fresh = figures && now && end - (start + last * step) < 4 * step; // the newest points are not there yet: no gap
  const times = [], series = Object.fromEntries(names.map((n) => [n, []]));
  for (let i = first; i <= (fresh ? last : body.points - 1); i++) {
    times.push(start + i * step);
    for (const n of names) series[n].push(body.series[n][i]);
  }
  if (figures && now && (times.length === 0 || end > times[times.length - 1])) {
    times.push(end);
    for (const n of names) series[n].push(figures[n] ?? null);
  }
  return { times, series, from: end - body.points * step, to: end, step };
}

const perRequest = 200, freshFor = 10000, gather = 120;
const cells = new Map(); // topic to the cells that show its sparkline
const known = new Map(); // topic to { at, values }
let turn = 0, busy = false, scrolled = 0;
addEventListener("scroll", () => { scrolled = Date.now(); }, { passive: true });

/** useSpark holds the newest sparkline of what comes in to a topic. Those of all cells in sight are asked for together. */
export function useSpark(topic) {
  const [, redraw] = useState(0);
  useEffect(() => {
    const draw = () => redraw((n) => n + 1);
    if (!cells.has(topic)) cells.set(topic, new Set());
    cells.get(topic).add(draw);
    turn ||= setTimeout(ask, gather);
    return () => {
      cells.get(topic).delete(draw);
      if (cells.get(topic).size === 0) cells.delete(topic);
    };
  }, [topic]);
  return known.get(topic)?.values;
}

/** ask fetches the sparklines that are in sight and not fresh, and comes again as long as there are any cells. What is only scrolled past is not asked for. */
async function ask() {
  const now = Date.now();
  if (now - scrolled < gather) {
    turn = setTimeout(ask, gather);
    return;
  }
  const due = [...cells.keys()].filter((t) => now - (known.get(t)?.at ?? 0) > freshFor).slice(0, perRequest);
  if (due.length > 0 && !busy && !document.hidden) {
    busy = true;
    try {
      const answer = await get("history/sparks", { metric: "rate_in", points: 60, topic: due });
      for (const t of due) {
        known.set(t, { at: Date.now(), values: answer.topics[t] });
        for (const draw of cells.get(t) ?? []) draw();
      }
    } catch { /* asked again at the next turn */ }
    busy = false;
  }
  turn = cells.size > 0 ? setTimeout(ask, due.length > 0 ? gather : 500) : 0;
}
