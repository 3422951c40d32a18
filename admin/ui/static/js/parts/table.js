// Tables: sortable columns, and rows that are only built while they are in sight, so that ten thousand cost what forty do.
import { html, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib/html.js";

const rowHeight = 33; // as the style sheet has it
const ahead = 16; // rows built beyond each edge of the window
const step = 8; // the window moves in steps, so that not every pixel builds rows

/**
 * Table shows rows under columns.
 * columns: [{ key, label, hint, value(row), cell(row), number, heads, width, wide }]. cell is what is shown; value, what is sorted by: without it the column
 * cannot be sorted; heads marks the one that names the row; width is in pixels, the others share the rest; wide columns are left out on a phone, extra ones on a small screen too.
 * id(row) tells rows apart; sort is { key, down } at first; caption is for screen readers. Rows are kept as they are built
 * while their object and the columns stay the same ones: what has not changed costs nothing.
 */
export function Table({ rows, columns, id, sort: first, caption, rowClass, empty }) {
  const [sort, setSort] = useState(first ?? { key: columns[0].key, down: false });
  const sorted = useMemo(() => order(rows, columns, sort, id), [rows, sort]);
  const body = useRef(null);
  const [from, to] = useWindow(body, sorted.length);
  const move = useCallback((event) => arrows(event, body.current, sorted.length), [sorted.length]);
  const built = useRef({ columns: null, rows: new Map() });

  if (rows.length === 0) return html`<p class="empty">${empty ?? "None."}</p>`;
  return html`<div class="table-box"><table aria-rowcount=${sorted.length + 1} aria-label=${caption}>
    <thead><tr aria-rowindex="1">${columns.map((c) => html`<${Head} key=${c.key} column=${c} sort=${sort} setSort=${setSort} />`)}</tr></thead>
    <tbody ref=${body} onKeyDown=${move}>
      ${from > 0 && html`<${Gap} key="above" rows=${from} />`}
      ${build(built.current, sorted, from, to, columns, id, rowClass)}
      ${to < sorted.length && html`<${Gap} key="below" rows=${sorted.length - to} />`}
    </tbody></table></div>`;
}

/** build makes the rows from one index to another, or takes them as they were. */
function build(built, sorted, from, to, columns, id, rowClass) {
  const before = built.columns === columns ? built.rows : new Map(), now = new Map(), shown = [];
  for (let i = from; i < to; i++) {
    const row = sorted[i], key = id(row), was = before.get(key);
    const node = was?.row === row && was.index === i ? was.node : html`<tr key=${"r" + key} aria-rowindex=${i + 2} data-index=${i} class=${rowClass?.(row)}>
      ${columns.map((c) => (c.heads ? html`<th scope="row" class=${classes(c)}>${c.cell(row)}</th>` : html`<td class=${classes(c)}>${c.cell(row)}</td>`))}</tr>`;
    now.set(key, { row, index: i, node });
    shown.push(node);
  }
  Object.assign(built, { columns, rows: now });
  return shown;
}

function Gap({ rows }) {
  return html`<tr class="gap" aria-hidden="true" style=${{ height: rows * rowHeight + "px" }}><td /></tr>`;
}

function classes(column) {
  return [column.number && "number", column.wide && "wide", column.extra && "extra", column.class].filter(Boolean).join(" ");
}

function Head({ column, sort, setSort }) {
  const style = column.width ? { width: column.width + "px" } : {};
  if (!column.value) {
    return html`<th scope="col" class=${classes({ ...column, class: "" })} style=${style} title=${column.hint}>${column.label || html`<span class="sr">${column.hint}</span>`}</th>`;
  }
  const on = sort.key === column.key;
  const press = () => setSort({ key: column.key, down: on ? !sort.down : !!column.number });
  return html`<th scope="col" class=${classes({ ...column, class: "" })} style=${style} aria-sort=${on ? (sort.down ? "descending" : "ascending") : "none"}>
    <button type="button" class="sort" onClick=${press} title=${column.hint}>${column.label}<span class="dir" aria-hidden="true">${on ? (sort.down ? "↓" : "↑") : ""}</span></button></th>`;
}

/** order sorts by the chosen column, and by id where that is equal, so that rows do not dance. */
export function order(rows, columns, sort, id) {
  const column = columns.find((c) => c.key === sort.key);
  if (!column?.value) return rows;
  const keyed = rows.map((row) => [column.value(row) ?? -Infinity, id(row), row]);
  const sign = sort.down ? -1 : 1;
  keyed.sort((a, b) => (a[0] < b[0] ? -sign : a[0] > b[0] ? sign : a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0));
  return keyed.map((k) => k[2]);
}

/** useWindow tells which rows are in sight, while the page scrolls. */
function useWindow(body, total) {
  const [range, setRange] = useState([0, 60]);
  const look = useCallback(() => {
    if (!body.current) return;
    const top = body.current.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor((-top / rowHeight - ahead) / step) * step);
    const to = Math.max(from, Math.ceil(((innerHeight - top) / rowHeight + ahead) / step) * step);
    setRange((was) => (was[0] === from && was[1] === to ? was : [from, to]));
  }, []);
  useLayoutEffect(look);
  useEffect(() => {
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => { removeEventListener("scroll", look); removeEventListener("resize", look); };
  }, []);
  return [Math.min(range[0], total), Math.min(range[1], total)];
}

/** arrows moves the focus from a row's link to that of another row. */
function arrows(event, body, total) {
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -total, End: total }[event.key];
  const row = event.target.closest("tr[data-index]");
  if (!by || !row || event.target.matches("input, select, textarea")) return;
  event.preventDefault();
  const here = Number(row.dataset.index), next = Math.max(0, Math.min(total - 1, here + by));
  const reach = () => body.querySelector(`tr[data-index="${next}"] a, tr[data-index="${next}"] button`);
  const focus = () => { reach()?.focus({ preventScroll: true }); reach()?.scrollIntoView({ block: "nearest" }); };
  if (reach()) return focus();
  scrollBy(0, (next - here) * rowHeight);
  setTimeout(focus, 50);
}
