// Tables: sortable columns, and rows that are only in the page while they are near the window, so that ten thousand cost what forty do.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib/html.js";
import { classes, rowHeight, Rows } from "./rows.js";
import { fit, measure, useWidth } from "./columns.js";

const ahead = 16; // rows beyond each edge of the window
const step = 8; // the range of rows moves in steps, so that not every pixel changes it

/**
 * Table shows rows under columns.
 * columns: [{ key, label, hint, value(row), as(value), cell(row), number, heads, width, phone, text(row), more, drop }]. A cell is the text that as makes of the value, faded where that is
 * nothing, or what cell makes. value is what is sorted by: without it the column cannot be sorted; heads marks the one that names the row. How wide a column is comes from what it
 * has: text is measured where that is not value; more is room in pixels for what stands beside it; width, and phone on a narrow screen, fix it. Where there is no
 * room for all, columns are left out, those with the highest drop first.
 * id(row) tells rows apart; sort is { key, down } at first; caption is for screen readers. A row's cells are left alone while its object and
 * the columns stay the same ones: what has not changed costs nothing.
 */
export function Table({ rows, columns, id, sort: first, caption, rowClass, empty }) {
  const [sort, setSort] = useState(first ?? { key: columns[0].key, down: false });
  const [room, box] = useWidth();
  const sorted = useMemo(() => order(rows, columns, sort, id), [rows, sort]);
  const needed = useRef({}).current;
  const { shown, tracks } = useMemo(() => fit(columns, measure(columns, rows, needed), room), [columns, rows, room]);
  const kept = useRef(shown);
  if (kept.current.length !== shown.length || shown.some((c, i) => c !== kept.current[i])) kept.current = shown; // the same array while it has the same columns
  const [body, move] = useRows({ rows: sorted, columns: kept.current, id, rowClass });

  if (rows.length === 0) return html`<p class="empty">${empty ?? "None."}</p>`;
  return html`<div class="table-box" ref=${box}><table role="table" aria-rowcount=${sorted.length + 1} aria-label=${caption} style=${{ "--tracks": tracks }}>
    <thead role="rowgroup"><tr role="row" aria-rowindex="1">${kept.current.map((c) => html`<${Head} key=${c.key} column=${c} sort=${sort} setSort=${setSort} />`)}</tr></thead>
    <tbody role="rowgroup" ref=${body} onKeyDown=${move} style=${{ height: sorted.length * rowHeight + "px" }} /></table></div>`;
}

/** useRows keeps the rows near the window in a table's body. It returns the body's ref, and what its keys do. */
function useRows(table) {
  const body = useRef(null), kept = useRef({}).current;
  kept.table = table;
  useLayoutEffect(() => {
    if (kept.body !== body.current) {
      kept.rows?.end();
      kept.body = body.current;
      kept.rows = kept.body && new Rows(kept.body);
    }
    kept.show ??= (scrolling) => {
      if (!kept.body) return;
      const [from, to] = inSight(kept.body, kept.table.rows.length);
      if (scrolling && from === kept.from && to === kept.to) return;
      Object.assign(kept, { from, to });
      kept.rows.show(kept.table, from, to, scrolling);
    };
    kept.show(false);
  });
  useEffect(() => {
    const scrolled = () => kept.show(true), resized = () => kept.show(false);
    addEventListener("scroll", scrolled, { passive: true });
    addEventListener("resize", resized);
    return () => {
      removeEventListener("scroll", scrolled);
      removeEventListener("resize", resized);
      kept.rows?.end();
    };
  }, []);
  kept.move ??= (event) => arrows(event, kept);
  return [body, kept.move];
}

/** inSight tells which rows are near the window. */
function inSight(body, total) {
  const top = body.getBoundingClientRect().top;
  const from = Math.max(0, Math.floor((-top / rowHeight - ahead) / step) * step);
  const to = Math.max(from, Math.ceil(((innerHeight - top) / rowHeight + ahead) / step) * step);
  return [Math.min(from, total), Math.min(to, total)];
}

function Head({ column, sort, setSort }) {
  if (!column.value) {
    return html`<th scope="col" role="columnheader" class=${classes({ ...column, class: "" })} title=${column.hint}>${column.label || html`<span class="sr">${column.hint}</span>`}</th>`;
  }
  const on = sort.key === column.key;
  const press = () => setSort({ key: column.key, down: on ? !sort.down : !!column.number });
  return html`<th scope="col" role="columnheader" class=${classes({ ...column, class: "" })} aria-sort=${on ? (sort.down ? "descending" : "ascending") : "none"}>
    <button type="button" class="sort" onClick=${press} title=${column.hint}>${column.label}<span class="dir" aria-hidden="true">${on ? (sort.down ? "↓" : "↑") : ""}</span></button></th>`;
}

/** order sorts by the chosen column, and by id where that is equal, so that rows do not dance. */
export function order(rows, columns, sort, id) {
  const value = columns.find((c) => c.key === sort.key)?.value;
  if (!value) return rows;
  const sign = sort.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const x = value(a) ?? -Infinity, y = value(b) ?? -Infinity;
    return x < y ? -sign : x > y ? sign : id(a) < id(b) ? -1 : 1;
  });
}

/** arrows moves the focus from a row's link to that of another row. */
function arrows(event, { body, table, show }) {
  const total = table.rows.length;
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -total, End: total }[event.key];
  const row = event.target.closest("tr[data-index]");
  if (!by || !row || event.target.matches("input, select, textarea")) return;
  event.preventDefault();
  const here = Number(row.dataset.index), next = Math.max(0, Math.min(total - 1, here + by));
  const reach = () => body.querySelector(`tr[data-index="${next}"] :is(a, button)`);
  if (!reach()) {
    scrollBy(0, (next - here) * rowHeight);
    show(true);
  }
  reach()?.focus({ preventScroll: true });
  reach()?.closest("tr").scrollIntoView({ block: "nearest" });
}
