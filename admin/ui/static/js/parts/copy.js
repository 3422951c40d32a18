// A command to copy.
import { html, useRef, useState } from "../lib/html.js";

/** Command shows a command line with a button that copies it. */
export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  const code = useRef(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // only pages from this machine or over HTTPS may: then it is selected, as by hand
      getSelection().selectAllChildren(code.current);
      document.execCommand("copy");
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<div class="command"><pre tabindex="0"><code ref=${code}>${text}</code></pre>
    <button type="button" class="small" onClick=${copy} aria-label=${`Copy: ${text}`}>${copied ? "Copied" : "Copy"}</button></div>`;
}
