// Dialogs. The browser's own <dialog> traps the focus, gives it back, and closes on Escape.
import { html, useEffect, useRef, useState } from "../lib/html.js";

/** Dialog shows its children over the page until onClose. */
export function Dialog({ title, onClose, children }) {
  const box = useRef(null);
  useEffect(() => {
    const was = document.activeElement;
    box.current.showModal();
    box.current.querySelector("[data-first]")?.focus();
    return () => was?.isConnected && was.focus();
  }, []);
  const outside = (event) => event.target === box.current && onClose();
  return html`<dialog ref=${box} aria-labelledby="dialog-title" onClose=${onClose} onMouseDown=${outside}>
    <div class="dialog-body"><h2 id="dialog-title">${title}</h2>${children}</div></dialog>`;
}

/**
 * ActDialog asks before an act, runs it, and shows why it failed. Where name is given, it must be typed.
 * run() returns a promise; when it is kept the dialog closes.
 */
export function ActDialog({ title, about, verb, danger, name, noun, run, onClose, children, ready = true }) {
  const [typed, setTyped] = useState("");
  const [state, setState] = useState({});
  const allowed = ready && !state.busy && (!name || typed === name);
  const submit = async (event) => {
    event.preventDefault();
    if (!allowed) return;
    setState({ busy: true });
    try {
      await run();
      onClose();
    } catch (error) {
      setState({ error: error.message });
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit} autocomplete="off">
      ${about && html`<p>${about}</p>`}
      ${children}
      ${name && html`<label class="field">To go on, type the name of the ${noun}: <code>${name}</code>
        <input data-first name="confirm" value=${typed} onInput=${(e) => setTyped(e.target.value)} spellcheck=${false} autocapitalize="off" autocomplete="off" /></label>`}
      ${state.error && html`<p class="note bad" role="alert">${state.error}</p>`}
      <div class="buttons">
        <button type="button" onClick=${onClose}>Cancel</button>
        <button type="submit" data-first=${name || children ? undefined : true} class=${danger ? "danger" : "primary"} disabled=${!allowed}>${state.busy ? "Working…" : verb}</button>
      </div>
    </form></${Dialog}>`;
}
