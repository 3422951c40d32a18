package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// profile is a tab in a browser profile of its own. A test that is done with it leaves it to the next one as it found it: the process of a new one, and
// the first page there, take a processor for a second.
type profile struct {
	ctx context.Context
	end context.CancelFunc
}

// profiles are those that no test has just now.
var profiles struct {
	mu   sync.Mutex
	free []profile
}

// freeProfile returns one of them, if there is any.
func freeProfile() (p profile, ok bool) {
	profiles.mu.Lock()
	defer profiles.mu.Unlock()
	n := len(profiles.free) - 1
	if n < 0 {
		return profile{}, false
	}
	p = profiles.free[n]
	profiles.free = profiles.free[:n]
	return p, true
}

// takeProfile returns a profile that is new, or as new.
func takeProfile(t *testing.T) profile {
	t.Helper()
	if p, ok := freeProfile(); ok {
		return p
	}
	ctx, end := chromedp.NewContext(chrome, chromedp.WithNewBrowserContext())
	focus := emulation.SetFocusEmulationEnabledParams{Enabled: true} // as each tab of its own window, whatever other tests do
	keep := page.AddScriptToEvaluateOnNewDocumentParams{Source: keepNotices}
	for _, f := range []func() error{
		func() error { return enable(ctx, log.Enable) },
		func() error { return enable(ctx, runtime.Enable) },
		func() error { _, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, focus); return err },
		func() error { _, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, keep); return err },
	} {
		if err := f(); err != nil {
			end()
			t.Fatal(err)
		}
	}
	return profile{ctx, end}
}

// leave has nothing remain of the pages below base, and gives the profile to the next test.
func (p profile) leave(base string) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.Navigate("about:blank"))
	if err == nil {
		err = enable(ctx, network.ClearBrowserCookies)
	}
	if at, bad := url.Parse(base); err == nil && bad == nil {
		all := storage.ClearDataForOriginParams{Origin: at.Scheme + "://" + at.Host, StorageTypes: "all"}
		_, err = chromedp.Call(ctx, storage.ClearDataForOrigin, all)
	}
	if err != nil {
		p.end()
		return err
	}
	profiles.mu.Lock()
	defer profiles.mu.Unlock()
	profiles.free = append(profiles.free, p)
	return nil
}

// endProfiles ends all that no test has.
func endProfiles() {
	profiles.mu.Lock()
	defer profiles.mu.Unlock()
	for _, p := range profiles.free {
		p.end()
	}
	profiles.free = nil
}

// tab is a page in a browser profile of its own, as a person uses it. At the test's end it fails it for whatever was written to
// the console and not expected.
type tab struct {
	t     *testing.T
	ctx   context.Context
	base  string
	spent bool // the test has set something up there that no other should find

	mu      sync.Mutex
	written []string // to the console, as errors or warnings
	expect  []string // parts of what may be written
}

// openTab opens a tab on the cluster's page, wide, in light colours.
func openTab(t *testing.T, base string) *tab {
	t.Helper()
	needBrowser(t)
	in := takeProfile(t)
	p := &tab{t: t, ctx: in.ctx, base: base}
	heard, deaf := context.WithCancel(in.ctx)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the page at the end, %s:\n%s", eval[string](p, "location.href"), p.text())
		}
		deaf()
		if p.spent || t.Failed() {
			in.end()
		} else if err := in.leave(base); err != nil {
			t.Errorf("leaving the page: %v", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, line := range p.written {
			t.Errorf("on the console: %s", line)
		}
	})
	if err := chromedp.Listen(heard, p.hear); err != nil {
		t.Fatal(err)
	}
	p.wide()
	p.scheme("light")
	return p
}

// keepNotices has a page keep what its notices said.
const keepNotices = `window.noticed = "";
	new MutationObserver((changes) => {
		for (const { target, addedNodes } of changes) if (target.className === "notices") for (const e of addedNodes) window.noticed += e.textContent + "\n";
	}).observe(document, { childList: true, subtree: true });`

// told waits until a notice of this page has said a text. Good news leaves the page after some seconds, and a busy machine may look later.
func (p *tab) told(text string) {
	p.t.Helper()
	p.until("it was told: "+text, "window.noticed?.includes("+quote(text)+")")
}

func enable(ctx context.Context, command cdp.Command[cdp.Empty, cdp.Empty]) error {
	_, err := chromedp.Call(ctx, command, cdp.Empty{})
	return err
}

// hear keeps what is written to the console. The browser calls it.
func (p *tab) hear(event any) {
	var line string
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeWarning {
			return
		}
		for _, a := range e.Args {
			line += " " + a.Description + string(a.Value)
		}
	case *runtime.EventExceptionThrown:
		line = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			line += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		line = fmt.Sprintf("%s %s", e.Entry.Text, e.Entry.URL)
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range p.expect {
		if strings.Contains(line, part) {
			return
		}
	}
	p.written = append(p.written, line)
}

// mayWrite says that a line with this part is no mistake from now on.
func (p *tab) mayWrite(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expect = append(p.expect, part)
}

// do runs actions, and fails the test when one fails.
func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns the value of an expression in the page. Where the page has just made way for another, it is that one's.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
		if err == nil {
			return value
		}
		if !madeWay(err) || ctx.Err() != nil {
			p.t.Fatalf("%v\nin %.200s", err, expression)
		}
	}
}

// madeWay reports whether an error is the browser's word for a page that went while an expression was evaluated in it.
func madeWay(err error) bool {
	for _, word := range []string{"Inspected target navigated", "Execution context was destroyed", "Cannot find context"} {
		if strings.Contains(err.Error(), word) {
			return true
		}
	}
	return false
}

// visit opens a path below the base, as from a bookmark.
func (p *tab) visit(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.base + path))
}

// text returns what can be read on the page.
func (p *tab) text() string {
	p.t.Helper()
	return eval[string](p, "document.body.innerText")
}

// see waits until every text can be read on the page.
func (p *tab) see(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.until("it reads: "+text, "document.body?.innerText.includes("+quote(text)+")")
	}
}

// seeNoMore waits until a text is gone.
func (p *tab) seeNoMore(text string) {
	p.t.Helper()
	p.until("it reads no more: "+text, "document.body && !document.body.innerText.includes("+quote(text)+")")
}

// until waits until an expression is true.
func (p *tab) until(what, expression string) {
	p.t.Helper()
	eventually(p.t, what, func() bool { return eval[bool](p, "Boolean("+expression+")") })
}

// find is an expression for the visible element that a person knows by this name: a button or link by its text, a field by its label. An open
// dialog hides the rest of the page.
func find(name string) string {
	return `(() => {
		const name = ` + quote(name) + `, scope = document.querySelector("dialog[open]") ?? document;
		const named = (e) => [e.getAttribute("aria-label"), e.textContent, e.placeholder, e.labels?.[0]?.firstChild?.textContent, e.labels?.[0]?.textContent];
		const fits = (text) => { text = (text ?? "").replace(/\s+/g, " ").trim(); return text === name || text.startsWith(name + " ") || text === name + "…"; };
		const seen = [...scope.querySelectorAll("button, a, input, select, textarea, summary, [role=option]")].filter((e) => e.checkVisibility({ visibilityProperty: true }));
		return seen.find((e) => named(e).some((t) => (t ?? "").trim() === name)) ?? seen.find((e) => named(e).some(fits));
	})()`
}

// press clicks with the mouse on what has this name. What a page shows moves as more of it arrives: a click that misses is done again,
// as a person would.
func (p *tab) press(name string) {
	p.t.Helper()
	eventually(p.t, name+" is pressed", func() bool {
		p.until("there is "+name+" to press", find(name)+" && !"+find(name)+".disabled")
		at := eval[*struct{ X, Y float64 }](p, `(() => {
			const e = `+find(name)+`;
			if (!e) return null;
			window.missed = true;
			e.addEventListener("click", () => { window.missed = false; }, { capture: true, once: true });
			e.scrollIntoView({ block: "nearest" });
			const r = e.getBoundingClientRect();
			return { x: r.x + r.width / 2, y: r.y + r.height / 2 };
		})()`)
		if at == nil {
			return false
		}
		p.do(chromedp.MouseClickXY(at.X, at.Y))
		return !eval[bool](p, "window.missed === true") // nothing is known of it where the click has led to another document
	})
}

// agree presses a button of the dialog that is open, or about to be.
func (p *tab) agree(name string) {
	p.t.Helper()
	p.until("a dialog is open", `document.querySelector("dialog[open]")`)
	p.press(name)
	p.until("the dialog is done", `!document.querySelector("dialog[open]")`)
}

// fill types into the field of this name, in place of what it has.
func (p *tab) fill(name, text string) {
	p.t.Helper()
	p.until("there is "+name+" to fill", find(name))
	eval[bool](p, "(() => { const e = "+find(name)+"; e.focus(); e.select?.(); return true; })()")
	p.key(text)
}

// key types on the keyboard, wherever the focus is.
func (p *tab) key(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// slash presses the key that leads to the search. Unlike what key sends it is one event, as from a keyboard, of which nothing is left for the
// field once the page has taken it.
func (p *tab) slash() {
	p.t.Helper()
	down := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Code: "Slash", Text: "/", WindowsVirtualKeyCode: 191}
	if _, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, down); err != nil {
		p.t.Fatal(err)
	}
}

// choose picks an option of a list by its value.
func (p *tab) choose(name, value string) {
	p.t.Helper()
	eval[bool](p, `(() => { const e = `+find(name)+`; e.value = `+quote(value)+`; e.dispatchEvent(new Event("change", { bubbles: true })); return true; })()`)
}

// focused returns the name of what has the focus.
func (p *tab) focused() string {
	p.t.Helper()
	return eval[string](p, `(document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent ?? "").trim()`)
}

// wide and narrow set the window to a desk's and a phone's.
func (p *tab) wide() {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(1440, 900))
}

func (p *tab) narrow() {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
}

// scheme makes the system want light or dark colours.
func (p *tab) scheme(name string) {
	p.t.Helper()
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		p.t.Fatal(err)
	}
}

// quote makes a literal of JavaScript.
func quote(text string) string {
	literal, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always has one
	}
	return string(literal)
}
