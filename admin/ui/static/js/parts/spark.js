// Sparklines: a small line of the last minutes, drawn as SVG so that it takes its colour from the style sheet.
import { html } from "../lib/html.js";

const width = 96, height = 20;

/** Spark draws values (oldest first; null where there is none) from zero up. label is what a screen reader hears. */
export function Spark({ values, label, wide }) {
  const known = values?.some((v) => v != null);
  return html`<svg class=${wide ? "spark wide" : "spark"} viewBox="0 0 ${width} ${height}" preserveAspectRatio="none"
    role="img" aria-label=${label ?? "recent values"}>
    ${known && html`<path class="area" d=${outline(values, true)} /><path class="line" d=${outline(values, false)} />`}
  </svg>`;
}

/** outline makes the SVG path of a line, or of the area under it. Where nothing is known there is a gap. */
export function outline(values, closed) {
  const top = Math.max(1e-9, ...values.map((v) => v ?? 0));
  const step = width / Math.max(1, values.length - 1);
  let path = "", first = null, last = 0;
  const end = () => {
    if (first != null && closed) path += `L${last} ${height}L${first} ${height}Z`;
    first = null;
  };
  values.forEach((v, i) => {
    if (v == null) return end();
    const x = +(i * step).toFixed(1), y = +(height - 1 - (v / top) * (height - 3)).toFixed(1);
    path += `${first == null ? "M" : "L"}${x} ${y}`;
    first ??= x;
    last = x;
  });
  end();
  return path;
}
