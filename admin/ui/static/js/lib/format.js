// Numbers, sizes, durations and times as text. Pure: no DOM, no state.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** count writes a whole number with its thousands apart, and shortens it from ten million on. */
export function count(n) {
  if (n == null || Number.isNaN(n)) return "–";
  if (n >= 0 && n < 1000 && Number.isInteger(n)) return String(n);
  return Math.abs(n) < 1e7 ? whole.format(n) : short(n);
}

/** short writes a number in at most five characters: 950, 12.3k, 4.56M. */
export function short(n) {
  if (n == null || Number.isNaN(n)) return "–";
  const size = Math.abs(n);
  if (size < 1000) return whole.format(n);
  const [unit, by] = size < 1e6 ? ["k", 1e3] : size < 1e9 ? ["M", 1e6] : size < 1e12 ? ["G", 1e9] : ["T", 1e12];
  const value = n / by;
  const digits = Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0;
  return value.toFixed(digits) + unit;
}

/** rate writes messages per second: one decimal below ten, none above. */
export function rate(n) {
  if (n == null || Number.isNaN(n)) return "–";
  if (n === 0) return "0";
  if (n < 0.05) return "<0.1";
  if (n < 10) return n.toFixed(1);
  return n < 1e5 ? whole.format(n) : short(n);
}

/** bytes writes a size with a binary unit. */
export function bytes(n) {
  if (n == null || Number.isNaN(n)) return "–";
  let unit = 0;
  while (Math.abs(n) >= 1024 && unit < 5) { n /= 1024; unit++; }
  const digits = unit === 0 || n >= 100 ? 0 : n >= 10 ? 1 : 2;
  return n.toFixed(digits) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
}

/** seconds writes a duration given in seconds with its two largest units: 42s, 3m 05s, 2h 10m, 4d 3h. */
export function seconds(s) {
  if (s == null || Number.isNaN(s)) return "–";
  s = Math.max(0, Math.round(s));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${String(s % 60).padStart(2, "0")}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${String(Math.floor(s % 3600 / 60)).padStart(2, "0")}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor(s % 86400 / 3600)}h`;
}

/** nanoseconds writes a latency: 850 ns, 12.3 µs, 4.56 ms, 1.20 s. */
export function nanoseconds(ns) {
  if (ns == null || Number.isNaN(ns)) return "–";
  const [unit, by] = ns < 1e3 ? ["ns", 1] : ns < 1e6 ? ["µs", 1e3] : ns < 1e9 ? ["ms", 1e6] : ["s", 1e9];
  const value = ns / by;
  return `${value.toFixed(by === 1 || value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${unit}`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const latest = 8.64e12; // seconds: what no date can be is somebody's slip, and must not end the page
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** time writes the time of day, in the viewer's zone, of a moment in seconds since the Unix epoch. */
export const time = (t) => clock.format(t * 1000);

/** hourMinute writes the same without its seconds. */
export const hourMinute = (t) => minute.format(t * 1000);

/** moment writes date, time and zone. */
export const moment = (t) => (Math.abs(t) <= latest ? full.format(t * 1000) : "–");

const plain = /^[\x20-\x7e]+$/; // most names, and a test that takes no time
const odd = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]/gu;

/** visible writes a name from elsewhere so that all of it is seen: what has no picture, or would turn its neighbours around, stands as its number. */
export const visible = (name) => plain.test(name) ? name : String(name ?? "").replace(odd, (c) => `\\u${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);

const code = (c) => `\\u${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** written is visible of a text of several lines, which stay lines. */
export const written = (text) => text.replace(odd, (c) => (c === "\n" || c === "\t" ? c : code(c)));

/** oneLine is visible of a text that stands on one line: its own lines and tabs are marked. */
export const oneLine = (text) => visible(text.replace(/\r?\n/g, "↵").replace(/\t/g, "→"));

const exact = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });

/** instant writes a time of RFC 3339 to the millisecond, in the viewer's zone. */
export const instant = (text) => (Number.isNaN(Date.parse(text)) ? visible(text ?? "–") : exact.format(Date.parse(text)));

/** plural writes a number and the noun that goes with it. */
export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
