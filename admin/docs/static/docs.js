// What the documentation does besides being read: searching, copying, light and dark, the menu on a phone, where one is on the page.
import { current, onChange, toggle } from "../static/js/lib/theme.js";

const root = new URL(".", import.meta.url);
const $ = (selector) => document.querySelector(selector);
const make = (name, props = {}, ...children) => {
  const node = Object.assign(document.createElement(name), props);
  node.append(...children);
  return node;
};
document.documentElement.classList.add("js");

// Light and dark, kept together with admind's own pages.
const theme = $("button.theme");
const label = () => { theme.title = `Show in ${current() === "dark" ? "light" : "dark"} colours`; theme.setAttribute("aria-label", theme.title); };
theme.hidden = false;
theme.addEventListener("click", toggle);
onChange(label);
label();

// The menu, where it does not stand beside the text.
const menu = $(".menu");
const opener = $("a.pages");
const open = (yes) => { menu.classList.toggle("open", yes); opener.setAttribute("aria-expanded", yes); };
open(false);
opener.addEventListener("click", (event) => { event.preventDefault(); open(!menu.classList.contains("open")); });
const here = menu.querySelector("[aria-current]");
if (here && here.offsetTop > menu.clientHeight - 80) menu.scrollTop = here.offsetTop - menu.clientHeight / 2;

// Wide tables get the room of the list of headings, where there is none.
if (!$("aside") && [...document.querySelectorAll(".table")].some((t) => t.scrollWidth > t.clientWidth)) document.body.classList.add("wide");

// Copying commands.
for (const figure of document.querySelectorAll(".code:not(.output)")) {
  const button = make("button", { type: "button", className: "small", textContent: "Copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(figure.querySelector("code").textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(figure.querySelector("code"));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  figure.append(button);
}

// Where one is on the page.
const links = new Map([...document.querySelectorAll("aside a")].map((a) => [decodeURIComponent(a.hash.slice(1)), a]));
if (links.size) {
  const headings = [...links.keys()].map((id) => document.getElementById(id));
  const mark = () => {
    const passed = headings.filter((h) => h.getBoundingClientRect().top < 120).at(-1);
    for (const [id, a] of links) a.classList.toggle("here", id === passed?.id);
  };
  addEventListener("scroll", mark, { passive: true });
  mark();
}

// Searching: every word must stand in a section; a hit in a title counts more than one in the text.
const box = $(".search");
const input = box.querySelector("input");
const list = $("#found");
let index, hits = [], chosen = 0;
box.hidden = false;

const load = () => index ??= fetch(new URL("search.json", root)).then((answer) => {
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.json();
}).then((sections) => sections.map((s) => ({ ...s, title: s.t.toLowerCase(), heading: (s.h ?? "").toLowerCase(), text: s.x.toLowerCase() })));

function score(section, words, phrase) {
  const named = [section.title, section.heading].some((name) => name === phrase || name === `--${phrase}`);
  let sum = named ? 60 : 0;
  for (const word of words) {
    const stem = word.length > 5 ? word.replace(/(ing|es|ed|e|s)$/, "") : word; // upgrade finds upgrading
    let points = 0;
    if (section.heading.includes(stem)) points += 20;
    if (section.title.includes(stem)) points += section.h ? 6 : 25;
    points += Math.min(section.text.split(stem).length - 1, 5);
    if (!points) return 0;
    sum += points;
  }
  return sum;
}

const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

function snippet(section, words) {
  const at = Math.max(0, Math.min(...words.map((w) => section.text.indexOf(w)).filter((i) => i >= 0), section.text.length) - 40);
  const text = (at > 0 ? "…" : "") + section.x.slice(at, at + 160);
  const parts = text.split(new RegExp(`(${words.map(escape).join("|")})`, "i"));
  return make("span", { className: "text" }, ...parts.map((part, i) => i % 2 ? make("mark", { textContent: part }) : part));
}

async function search() {
  const phrase = input.value.trim().toLowerCase();
  const words = phrase.split(/\s+/).filter(Boolean);
  let sections = [];
  let failed = "";
  if (words.length) {
    try { sections = await load(); } catch (error) { index = undefined; failed = `The index cannot be read: ${error.message}`; }
  }
  if (phrase !== input.value.trim().toLowerCase()) return; // something else was typed meanwhile
  hits = sections.map((s) => [score(s, words, phrase), s]).filter(([n]) => n > 0).sort((a, b) => b[0] - a[0]).slice(0, 12).map(([, s]) => s);
  chosen = 0;
  list.replaceChildren(...hits.map((s, i) => make("li", { role: "option", id: `hit-${i}` },
    make("a", { href: new URL((s.p || ".") + (s.a ? `#${s.a}` : ""), root).href, tabIndex: -1 },
      make("b", { textContent: s.h ?? s.t }), s.h ? make("span", { className: "where", textContent: ` – ${s.t}` }) : "", snippet(s, words)))));
  if (words.length && !hits.length) list.append(make("li", { className: "none", textContent: failed || "Nothing found" }));
  show(words.length > 0);
  choose(0);
}

function show(yes) { list.hidden = !yes; input.setAttribute("aria-expanded", yes); }

function choose(i) {
  chosen = Math.max(0, Math.min(i, hits.length - 1));
  [...list.children].forEach((li, n) => li.setAttribute("aria-selected", n === chosen));
  if (hits.length) { input.setAttribute("aria-activedescendant", `hit-${chosen}`); list.children[chosen].scrollIntoView({ block: "nearest" }); }
  else input.removeAttribute("aria-activedescendant");
}

input.addEventListener("focus", () => { load().catch(() => { index = undefined; }); if (input.value) search(); });
input.addEventListener("input", search);
input.addEventListener("keydown", (event) => {
  switch (event.key) {
    case "ArrowDown": choose(chosen + 1); break;
    case "ArrowUp": choose(chosen - 1); break;
    case "Enter": list.children[chosen]?.querySelector("a")?.click(); break;
    case "Escape": show(false); input.blur(); break;
    default: return;
  }
  event.preventDefault();
});
list.addEventListener("click", () => { show(false); input.blur(); });
document.addEventListener("click", (event) => { if (!box.contains(event.target)) show(false); });
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); input.focus(); input.select(); }
  if (event.key === "Escape") open(false);
});
