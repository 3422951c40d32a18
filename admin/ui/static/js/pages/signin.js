// Signing in, where admind has users of its own.
import { html, useState } from "../lib/html.js";
import { signIn } from "../lib/api.js";
import { seconds } from "../lib/format.js";
import { go, path, route } from "../lib/router.js";

export function SignIn({ session }) {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [state, setState] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      await signIn(user, password);
      if (route(location).page === "sign-in") go(path.overview(), { replace: true });
    } catch (error) {
      setPassword("");
      setState({ error: explain(error) });
    }
  };
  if (session.sign_in !== "users") {
    return html`<main id="main" class="sign-in"><h1>admind</h1><p class="note bad" role="alert">The proxy in front of admind did not say who you are. Open this page through it.</p></main>`;
  }
  return html`<main id="main" class="sign-in"><h1>admind</h1>
    <form onSubmit=${submit}>
      <label class="field">User<input name="user" autocomplete="username" autofocus required value=${user} onInput=${(e) => setUser(e.target.value)} autocapitalize="off" spellcheck=${false} /></label>
      <label class="field">${session.tokens ? "Password or token" : "Password"}<input name="password" type="password" autocomplete="current-password" required value=${password} onInput=${(e) => setPassword(e.target.value)} /></label>
      ${state.error && html`<p class="note bad" role="alert">${state.error}</p>`}
      <button type="submit" class="primary" disabled=${state.busy}>Sign in</button>
    </form><p class="muted">${session.hostname}</p></main>`;
}

function explain(error) {
  if (error.message.startsWith("BAD_CREDENTIALS")) return "That is no user of this admind, or not the password.";
  if (error.status === 429) return `Too many attempts. Try again${error.retryAfter ? ` in ${seconds(error.retryAfter)}` : " later"}.`;
  return error.message;
}
