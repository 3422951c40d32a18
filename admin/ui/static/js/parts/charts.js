// The charts of a topic, channel, node or the whole, side by side, over a span that the viewer chooses.
import { html, useMemo, useState } from "../lib/html.js";
import { rate, short } from "../lib/format.js";
import { useHistory } from "../lib/history.js";
import { session } from "../lib/session.js";
import { Chart } from "./chart.js";
import { Section } from "./figures.js";

const key = "admind.window";
const spans = { "10m": "10 min", "1h": "1 hour", "8h": "8 hours" };

function kept() {
  try { return sessionStorage.getItem(key); } catch { return null; }
}

const series = {
  rate_in: { label: "in", color: "--quiet", fill: false },
  failing: { label: "requeued or timed out", color: "--warn" },
  rate_out: { label: "out", color: "--accent", fill: true },
  depth: { label: "depth", color: "--accent", fill: true },
  in_flight: { label: "in flight", color: "--teal" },
  deferred: { label: "deferred", color: "--violet", dash: [4, 3] },
  requeue_rate: { label: "requeued", color: "--warn" },
  timeout_rate: { label: "timed out", color: "--bad" },
};

const charts = [
  { title: "Messages", unit: "per second", names: ["rate_out", "rate_in"], format: rate },
  { title: "Waiting", unit: "messages", names: ["depth", "in_flight", "deferred"], format: short },
  { title: "Failing", unit: "per second", names: ["requeue_rate", "timeout_rate", "failing"], format: rate },
];

/** Charts draws what there is a history of. of says of what; now (ms) and figures, the page's newest totals, are the last point: none where nothing is known of now. labels name series otherwise. */
export function Charts({ of, now, figures, graphite, labels }) {
  const [window, setWindow] = useState(session.windows.some((w) => w.name === kept()) ? kept() : session.windows[0].name);
  const history = useHistory(of, window, now, figures);
  const drawn = charts.map((c) => ({ ...c, names: c.names.filter((n) => history.series[n]) })).filter((c) => c.names.length > 0);
  const choose = (name) => {
    setWindow(name);
    try { sessionStorage.setItem(key, name); } catch { /* it holds for this page */ }
  };
  return html`<${Section} title="Over time" tools=${html`${graphite && html`<a class="out" href=${graphite} target="_blank" rel="noreferrer">Graphite ↗</a>`}
    <div class="filters" role="group" aria-label="Time span">${session.windows.map((w) => html`<button type="button" key=${w.name} class="chip" aria-pressed=${w.name === window}
      onClick=${() => choose(w.name)}>${spans[w.name] ?? w.name}</button>`)}</div>`}>
    <div class="charts">${drawn.map((c) => html`<${Chart} key=${c.title} title=${c.title} unit=${c.unit} format=${c.format}
      series=${c.names.map((n) => ({ ...series[n], label: labels?.[n] ?? series[n].label }))} data=${[history.times, ...c.names.map((n) => history.series[n])]} from=${history.from} to=${history.to} />`)}
      ${drawn.length === 0 && html`<div class="chart blank-chart" />`}</div></${Section}>`;
}
