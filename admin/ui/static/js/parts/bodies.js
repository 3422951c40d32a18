// Bodies of messages as people read them. They are somebody else's: they are only ever text, and what would hide or turn something stands as its number.
import { oneLine, written } from "../lib/format.js";

const most = 200; // characters of a body in a list

/** excerpt is the beginning of a body on one line: of one that is no text its bytes. */
export function excerpt(m) {
  if (m.body == null) return m.body_base64 ? [...bytesOf(m)].slice(0, most / 4).map(two).join(" ") : "";
  return oneLine(m.body.slice(0, most));
}

const two = (n) => n.toString(16).padStart(2, "0");

/** bytesOf returns the bytes of a body, as many as were told. */
export function bytesOf(m) {
  if (m.body != null) return new TextEncoder().encode(m.body);
  return Uint8Array.from(atob(m.body_base64 ?? ""), (c) => c.charCodeAt(0));
}

/** laidOut returns a body that is JSON with a line for each part, null for any other, and for one of which that would make very much more. */
export function laidOut(m) {
  if (!/^\s*[[{]/.test(m.body ?? "")) return null;
  try { JSON.parse(m.body); } catch { return null; }
  const text = indented(m.body);
  return text && written(text);
}

/** indented lays JSON out without taking it for values: numbers and names stay as they were written. null: it is nested so deep that this is of no use. */
function indented(text) {
  const most = 8 * text.length + 4096; // what is nested deep would grow by the square of that
  let out = "", depth = 0, i = 0;
  const line = () => "\n" + "  ".repeat(depth);
  while (i < text.length) {
    if (out.length > most) return null;
    const c = text[i];
    if (c === '"') {
      let end = i + 1;
      while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
      out += text.slice(i, end + 1);
      i = end;
    } else if (c === "{" || c === "[") {
      const close = text.slice(i + 1).match(/^\s*[}\]]/);
      if (close) { out += c + (c === "{" ? "}" : "]"); i += close[0].length; } else { depth++; out += c + line(); }
    } else if (c === "}" || c === "]") { depth--; out += line() + c; }
    else if (c === ",") out += c + line();
    else if (c === ":") out += ": ";
    else if (!/\s/.test(c)) out += c;
    i++;
  }
  return out;
}

/** hexDump writes bytes as lines of sixteen, with what of them is text beside. */
export function hexDump(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = [...bytes.subarray(at, at + 16)];
    lines.push(`${at.toString(16).padStart(8, "0")}  ${part.map(two).join(" ").padEnd(47)}  ${part.map((b) => (b > 31 && b < 127 ? String.fromCharCode(b) : ".")).join("")}`);
  }
  return lines.join("\n");
}
