// The search over everything: topics, channels, nodes, lookups, consumers. "/" comes here from anywhere.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { base, go } from "../lib/router.js";
import { visible } from "../lib/format.js";
import { Name } from "./figures.js";
import { isKey } from "./keys.js";

/** Search is the box in the page's head, with its list of what was found. */
export function Search({ initial = "" }) {
  const [q, setQ] = useState(initial);
  const [items, setItems] = useState([]);
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const box = useRef(null);

  useEffect(() => {
    const key = (event) => {
      if (!isKey(event, "/")) return;
      event.preventDefault();
      box.current.focus();
      box.current.select();
    };
    addEventListener("keydown", key);
    if (initial) box.current.focus();
    return () => removeEventListener("keydown", key);
  }, []);

  useEffect(() => {
    if (!open) return;
    const stop = new AbortController();
    const soon = setTimeout(async () => {
      try {
        const answer = await get("search", { q, limit: 20 }, stop.signal);
        setItems(answer.items);
        setAt(0);
      } catch { /* typing on asks again */ }
    }, q ? 80 : 0);
    return () => { clearTimeout(soon); stop.abort(); };
  }, [q, open]);

  const leave = () => { setOpen(false); setAt(0); };
  const choose = (item) => {
    if (!item) return;
    setQ("");
    leave();
    box.current.blur();
    go(base + item.path);
  };
  const key = (event) => {
    if (event.key === "ArrowDown") setAt((n) => Math.min(items.length - 1, n + 1));
    else if (event.key === "ArrowUp") setAt((n) => Math.max(0, n - 1));
    else if (event.key === "Enter") choose(items[at]);
    else if (event.key === "Escape") { if (open && q) setQ(""); else { leave(); box.current.blur(); } }
    else return;
    event.preventDefault();
  };
  const listed = open && items.length > 0;
  return html`<div class="search" role="search">
    <input ref=${box} type="search" role="combobox" aria-label="Search topics, channels, nodes and consumers" aria-expanded=${listed} aria-controls="found"
      aria-autocomplete="list" aria-activedescendant=${listed ? `found-${at}` : undefined} placeholder="Search" autocomplete="off" spellcheck=${false}
      value=${q} onInput=${(e) => { setQ(e.target.value); setOpen(true); }} onFocus=${() => setOpen(true)} onBlur=${leave} onKeyDown=${key} />
    <kbd aria-hidden="true">/</kbd>
    <div class="found" hidden=${!open || (items.length === 0 && !q)}>
      <ul id="found" role="listbox" aria-label="Found">${items.map((item, i) => html`<li key=${item.kind + item.path + item.label} id=${`found-${i}`} role="option" aria-selected=${i === at}
        onMouseDown=${(e) => { e.preventDefault(); choose(item); }} onMouseMove=${() => setAt(i)} ref=${i === at ? reveal : undefined}>
        <span class="kind">${item.kind}</span><span class="name" title=${visible(item.label)}><${Name}>${item.label}</${Name}></span><span class="muted"><${Name}>${item.detail}</${Name}></span></li>`)}</ul>
      ${q && items.length === 0 && html`<p class="muted">Nothing has “${q}” in its name.</p>`}
    </div></div>`;
}

function reveal(element) { element?.scrollIntoView({ block: "nearest" }); }
