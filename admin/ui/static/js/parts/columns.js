// How wide the columns of a table are, and which of them there is room for.
import { useLayoutEffect, useRef, useState } from "../lib/html.js";

const padding = 20, onPhone = 14; // of a cell, left and right
const narrow = 640; // px; a phone's table
const leastText = 260, leastHead = 260, mostText = 340; // px
const cutText = 150, needed = 2; // a name is rather cut to so many px than a column dropped of this number or less
const steps = [1e5, 1e7, Infinity]; // below each figures are written otherwise

let pen = null;
const widths = new Map(); // text to its width

/** widthOf measures a text as it stands in a table. */
function widthOf(text, kind) {
  const key = kind + text;
  if (!widths.has(key)) {
    const font = { head: "500 12.5px ", name: "600 14px ", mono: "12.5px ", text: "14px " }[kind];
    pen ??= document.createElement("canvas").getContext("2d");
    pen.font = font + getComputedStyle(document.documentElement).getPropertyValue(kind === "mono" ? "--mono" : "--font");
    if (widths.size > 5000) widths.clear();
    widths.set(key, Math.ceil(pen.measureText(text).width));
  }
  return widths.get(key);
}

/**
 * measure says what each column needs in pixels, by its longest text. It is kept in known and only grows: figures that change must not make columns dance, and
 * of many rows only those are looked at that are new.
 */
export function measure(columns, rows, known) {
  if (known.columns !== columns) Object.assign(known, { columns, seen: new WeakSet(), need: {} });
  const fresh = rows.filter((row) => !known.seen.has(row));
  for (const row of fresh) known.seen.add(row);
  for (const column of columns) {
    const text = longest(column, fresh);
    const kind = column.heads ? "name" : column.class === "mono" ? "mono" : "text";
    const need = Math.max(head(column), text ? widthOf(text, kind) + 4 : 0, column.number ? 34 : 0) + (column.more ?? 0);
    known.need[column.key] = Math.max(known.need[column.key] ?? 0, need);
  }
  return known.need;
}

/** head is how much room a column's head needs, with the arrow that says how it is sorted. */
const head = (column) => widthOf(column.label, "head") + (column.value ? 16 : 0);

function longest(column, rows) {
  if (column.width) return "";
  if (column.as) {
    const most = steps.map(() => -Infinity); // large figures are shortened: the longest text need not be that of the largest
    for (const row of rows) {
      const value = column.value(row);
      for (let i = 0; i < steps.length; i++) if (value < steps[i] && value > most[i]) most[i] = value;
    }
    return most.reduce((found, value) => (value > -Infinity && column.as(value).length > found.length ? column.as(value) : found), "<0.1");
  }
  const text = column.text ?? column.value;
  let found = "";
  if (text) for (const row of rows) {
    const one = String(text(row) ?? "");
    if (one.length > found.length) found = one;
  }
  return found.slice(0, 80);
}

/** fit chooses the columns that there is room for, and their tracks. Where there is more room than they need all of them grow. */
export function fit(columns, known, room) {
  const phone = room < narrow, pad = phone ? onPhone : padding;
  const of = (c) => {
    const fixed = (phone && c.phone) || c.width;
    if (fixed) return { column: c, least: fixed, need: fixed, fixed };
    const need = known[c.key] + pad;
    if (c.number) return { column: c, least: need, need };
    const most = Math.min(need, c.heads ? mostText + 120 : mostText);
    return { column: c, least: Math.max(head(c) + pad, Math.min(most, c.heads ? (phone ? 170 : leastHead) : leastText)), need: most };
  };
  let shown = columns.map(of);
  const width = () => shown.reduce((sum, c) => sum + c.least, 0);
  const cut = () => shown.reduce((sum, c) => sum + (c.fixed || c.column.number ? c.least : Math.min(c.least, cutText)), 0);
  while (width() > room) {
    const next = shown.reduce((a, b) => ((b.column.drop ?? 0) >= (a?.column.drop ?? 1) ? b : a), null);
    if (!next || next.column.drop <= needed && cut() <= room) break; // it tells rows apart
    shown = shown.filter((c) => c !== next);
  }
  const floor = (c) => (c.fixed || c.column.number ? c.least : Math.min(c.least, Math.max(84, head(c.column) + pad)));
  const over = width() - room, slack = shown.reduce((sum, c) => sum + c.least - floor(c), 0);
  if (over > 0 && slack > 0) for (const c of shown) c.least -= Math.ceil(Math.min(1, over / slack) * (c.least - floor(c))); // names are cut then
  const tracks = shown.map((c) => (c.fixed ? `${c.fixed}px` : `minmax(${c.least}px, ${c.need}fr)`)).join(" ");
  return { shown: shown.map((c) => c.column), tracks };
}

/** useWidth holds how wide an element is, and the ref that it is to have. */
export function useWidth() {
  const [width, setWidth] = useState(() => Math.max(280, (document.getElementById("main")?.clientWidth ?? innerWidth) - 50));
  const box = useRef(null), watched = useRef({}).current;
  useLayoutEffect(() => {
    if (watched.element === box.current) return;
    watched.element = box.current;
    watched.observer?.disconnect();
    if (!box.current) return;
    const look = () => setWidth(watched.element.clientWidth);
    look();
    watched.observer = new ResizeObserver(look);
    watched.observer.observe(box.current);
  });
  useLayoutEffect(() => () => watched.observer?.disconnect(), []);
  return [width, box];
}
