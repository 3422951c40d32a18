// Time series, drawn by uPlot. One Chart is a title, a legend with the values under the pointer, and the plot.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { color, onChange } from "../lib/theme.js";
import { hourMinute, moment, short, time } from "../lib/format.js";

const plotHeight = 168;

/** loaded fetches uPlot and its style sheet, once, when the first chart is drawn: the overview comes sooner without. */
const loaded = () => (loading ??= Promise.all([fetchTag("script", { src: vendored("uplot.js") }), fetchTag("link", { rel: "stylesheet", href: vendored("uplot.css") })]));
let loading = null;

const vendored = (file) => new URL(`../../vendor/${file}`, import.meta.url).href;

function fetchTag(kind, attributes) {
  return new Promise((resolve, reject) => document.head.append(Object.assign(document.createElement(kind), attributes, { onload: resolve, onerror: reject })));
}

/**
 * Chart draws series over time.
 * data: columns, the first of seconds since the Unix epoch; series: [{ label, color: "--name", format, fill, dash }], one for each further
 * column; from, to: the span shown, in seconds since the epoch.
 */
export function Chart({ title, unit, series, data, from, to, format = short }) {
  const box = useRef(null), plot = useRef(null), latest = useRef(null);
  const [at, setAt] = useState(null);
  const [redraw, setRedraw] = useState(0);
  latest.current = { data, from, to };

  useEffect(() => onChange(() => setRedraw((n) => n + 1)), []);
  const [ready, setReady] = useState(typeof uPlot !== "undefined");
  useEffect(() => { ready || loaded().then(() => setReady(true)); }, []);
  useEffect(() => {
    if (!ready) return;
    const u = new uPlot(options(series, format, box.current.clientWidth, latest, setAt), latest.current.data, box.current);
    plot.current = u;
    const fit = new ResizeObserver(() => u.setSize({ width: box.current.clientWidth, height: plotHeight }));
    fit.observe(box.current);
    return () => { fit.disconnect(); u.destroy(); };
  }, [ready, redraw, series.map((s) => s.label).join()]);
  useEffect(() => { plot.current?.setData(data); }, [data, from, to]);

  const index = at != null && at < data[0].length ? at : data[0].length - 1;
  const when = at != null && data[0][index] ? `at ${time(data[0][index])}` : null;
  return html`<figure class="chart">
    <figcaption><h3>${title}</h3><span class="unit">${when ?? unit}</span>
      <ul class="legend">${series.map((s, i) => html`<li key=${s.label}>
        <i class=${"swatch " + s.color.slice(2)} /><span>${s.label}</span> <b>${(s.format ?? format)(data[i + 1]?.[index])}</b></li>`)}</ul>
    </figcaption>
    <div class="plot" ref=${box} role="img" aria-label=${describe(title, unit, series, data, format)} />
    ${data[0].length < 2 && html`<p class="plot-empty">History fills in as admind watches.</p>`}
  </figure>`;
}

/** describe says in words what a plot shows, for those who do not see it. */
function describe(title, unit, series, data, format) {
  const last = data[0].length - 1;
  if (last < 0) return `${title}: nothing yet`;
  const values = series.map((s, i) => `${s.label} ${(s.format ?? format)(data[i + 1][last])}`).join(", ");
  return `${title}${unit ? ` (${unit})` : ""} since ${moment(data[0][0])}; now ${values}`;
}

function options(series, format, width, latest, setAt) {
  const axis = { stroke: color("--muted"), font: "11px " + color("--font"), ticks: { show: false },
    grid: { stroke: color("--grid"), width: 1 } };
  return {
    width, height: plotHeight, legend: { show: false }, padding: [8, 18, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "page" }, points: { size: 6 } },
    scales: {
      x: { range: (u, min, max) => [latest.current.from ?? min, latest.current.to ?? max] },
      y: { range: (u, min, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      { ...axis, size: 24, space: 72, values: (u, splits) => splits.map(hourMinute), grid: { show: false } },
      { ...axis, size: 52, space: 36, values: (u, splits) => splits.map((v) => (v === 0 ? "0" : v % 1 ? +v.toFixed(2) : short(v).replace(/\.0+([kMGT])$/, "$1").replace(/(\.\d*[1-9])0+([kMGT])$/, "$1$2"))) },
    ],
    series: [{}, ...series.map((s) => ({
      label: s.label, stroke: color(s.color), width: 1.5, points: { show: false }, dash: s.dash,
      fill: s.fill ? color(s.color + "-fill") : undefined,
    }))],
    hooks: { setCursor: [(u) => setAt(u.cursor.idx ?? null)] },
  };
}
