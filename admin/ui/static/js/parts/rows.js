// The rows of a long table. Only those near the window are in the page, and their elements are used again for other rows as it
// scrolls: what a row costs is then its changed texts, and neither new elements nor a layout of the whole table.
import { render } from "../lib/html.js";

/** rowHeight is the height of every row in pixels, as the style sheet has it. */
export const rowHeight = 33;

const restsAfter = 150; // ms without scrolling until the elements are put into the order of what they show

/**
 * Rows fills a table's body. The body's children are nobody else's. Elements that stand in the order of their rows are what the Tab key and
 * screen readers go by; while the page scrolls they only take their new places, and are put in order once it rests. The row that has the focus
 * is never taken away from under it.
 */
export class Rows {
  constructor(body) {
    this.body = body;
    this.shown = new Map(); // key to its slot
    this.free = []; // slots of no row
    this.rest = 0; // timer
  }

  /** show makes the rows from one index to another stand where they belong. table: { rows, columns, id, rowClass }. */
  show(table, from, to, scrolling) {
    const wanted = new Map();
    for (let i = from; i < to; i++) wanted.set(table.id(table.rows[i]), i);
    const held = this.focused();
    if (held && !wanted.has(held.key)) {
      const at = table.rows.findIndex((row) => table.id(row) === held.key);
      if (at >= 0) wanted.set(held.key, at);
    }
    for (const [key, slot] of this.shown) {
      if (wanted.has(key)) continue;
      this.shown.delete(key);
      this.free.push(slot);
    }
    for (const [key, index] of wanted) {
      let slot = this.shown.get(key);
      if (!slot) {
        slot = this.free.pop() ?? this.make();
        slot.key = key;
        this.shown.set(key, slot);
      }
      fill(slot, table, table.rows[index], index);
    }
    for (const slot of this.free) hide(slot);
    if (scrolling) {
      clearTimeout(this.rest);
      this.rest = setTimeout(() => { this.rest = 0; this.order(); }, restsAfter);
    } else if (!this.rest) this.order();
  }

  make() {
    const tr = document.createElement("tr");
    tr.setAttribute("role", "row");
    this.body.append(tr);
    return { tr, key: null, row: null, index: -1, columns: null, cells: [], class: "" };
  }

  focused() {
    const tr = document.activeElement?.closest("tr");
    if (tr?.parentNode === this.body) for (const slot of this.shown.values()) if (slot.tr === tr) return slot;
    return null;
  }

  /** order puts the elements in the order of their rows. The one with the focus stays where it is, or it would lose it, and the others go around it. */
  order() {
    const slots = [...this.shown.values()].sort((a, b) => a.index - b.index);
    const fixed = Math.max(0, slots.indexOf(this.focused()));
    for (let i = fixed - 1; i >= 0; i--) {
      if (slots[i].tr.nextSibling !== slots[i + 1].tr) this.body.insertBefore(slots[i].tr, slots[i + 1].tr);
    }
    for (let i = fixed + 1; i < slots.length; i++) {
      if (slots[i - 1].tr.nextSibling !== slots[i].tr) slots[i - 1].tr.after(slots[i].tr);
    }
  }

  /** end gives everything up that the rows' cells hold. */
  end() {
    clearTimeout(this.rest);
    for (const slot of [...this.shown.values(), ...this.free]) clear(slot);
  }
}

/** fill shows a row in a slot; what is as it was is not touched. */
function fill(slot, { columns, rowClass }, row, index) {
  const { tr } = slot;
  if (slot.index !== index) {
    if (slot.index < 0) tr.hidden = false;
    slot.index = index;
    tr.style.transform = `translateY(${index * rowHeight}px)`;
    tr.dataset.index = index;
    tr.ariaRowIndex = index + 2;
  }
  if (slot.columns !== columns) build(slot, columns);
  else if (slot.row === row) return;
  slot.row = row;
  const name = rowClass?.(row) || "";
  if (slot.class !== name) tr.className = slot.class = name;
  for (const cell of slot.cells) draw(cell, row);
}

/** build makes the cells of a row, or takes those of before where the columns are of the same kinds. */
function build(slot, columns) {
  const same = slot.columns?.length === columns.length && columns.every((c, i) => kind(c) === kind(slot.columns[i]));
  slot.columns = columns;
  if (same) {
    columns.forEach((column, i) => { slot.cells[i].column = column; });
    return;
  }
  clear(slot);
  slot.cells = columns.map((column) => {
    const td = document.createElement(column.heads ? "th" : "td");
    td.setAttribute("role", column.heads ? "rowheader" : "cell");
    td.className = classes(column);
    if (column.as) td.append(""); // its text
    return { td, column, text: null, zero: false };
  });
  slot.tr.replaceChildren(...slot.cells.map((cell) => cell.td));
}

const kind = (column) => [column.key, column.heads ? "th" : "td", column.as ? "text" : "parts", classes(column)].join();

function draw(cell, row) {
  const { td, column } = cell;
  if (!column.as) return render(column.cell(row), td);
  const value = column.value(row), text = column.as(value);
  if (cell.text !== text) td.firstChild.data = cell.text = text;
  if (cell.zero !== !value) td.classList.toggle("zero", cell.zero = !value);
}

function clear(slot) {
  for (const { td, column } of slot.cells) if (!column.as) render(null, td);
}

function hide(slot) {
  if (slot.index < 0) return;
  slot.index = -1;
  slot.tr.hidden = true;
  delete slot.tr.dataset.index;
}

/** classes are those of a column's cells. */
export function classes(column) {
  return [column.number && "number", column.class].filter(Boolean).join(" ");
}
