package browser

import (
	"compress/gzip"
	"io"
	"os"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// sight is one page as it is looked at: its name, its path, and what is pressed there first.
type sight struct{ name, path, see, press string }

// sights are all pages, with a dialog and the search open as well. node is a broker's address.
func sights(node string) []sight {
	return []sight{
		{"overview", "", "messages published", ""},
		{"topic", "topics/orders", "Producers", ""},
		{"channel", "topics/orders/billing", "Latency", ""},
		{"nodes", "nodes", node, ""},
		{"node", "nodes/" + node, "Heap in use", ""},
		{"consumers", "consumers", "connections", ""},
		{"consumer", "consumers?client=billing-1.test", "Subscriptions", ""},
		{"lookup", "lookup", "Inactive topics", ""},
		{"publish", "topics/orders", "Producers", "Publish"},
		{"delete", "topics/orders", "Producers", "Delete"},
		{"missing", "topics/nothing", "No such topic", ""},
	}
}

// show brings a sight onto the page.
func (p *tab) show(s sight) {
	p.t.Helper()
	p.visit(s.path)
	p.see(s.see)
	if s.press != "" {
		p.press(s.press)
		p.until("a dialog is open", `document.querySelector("dialog[open]")`)
	}
}

// TestEachPageIsAccessible has axe-core judge each page in light and dark, by the rules of WCAG 2.2 up to AA and by its own of good practice. Dark
// pages are of the same parts as light ones: there only what depends on colours is judged. So are those on a phone: what depends on room and on what
// is hidden there. make pages judges all by all rules. With a node dead it is the overview, in all three ways; TestTroubleIsAccessible has more.
func TestEachPageIsAccessible(t *testing.T) {
	c := shop(t, 2)
	p := openTab(t, c.base)
	p.bringAxe()
	for _, s := range sights(c.brokers[0].HTTP) {
		p.judgeInEachWay(s, "")
	}
	p.visit("")
	p.see("4 topics")
	p.slash()
	p.until("something is found", `document.querySelectorAll("[role=option]").length > 0`)
	p.audit("search")
	c.brokers[0].Kill(t)
	p.see("1 down")
	p.judgeInEachWay(sight{name: "overview with a dead node", see: "1 down"}, "")
}

// judgeInEachWay has axe-core judge a sight in light, in dark and on a phone, where it may not be too wide. It leaves pictures of it, if it is given a
// name for them.
func (p *tab) judgeInEachWay(s sight, picture string) {
	p.t.Helper()
	p.show(s)
	p.auditIn("light", s.name)
	p.scheme("dark")
	p.settled()
	p.auditIn("dark", s.name)
	p.scheme("light")
	if picture != "" {
		p.pictures(picture + "-1440")
	}
	p.narrow()
	p.settled()
	p.auditNarrow(s.name)
	if over := eval[int](p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		p.t.Errorf("%s on a phone is %d pixels too wide", s.name, over)
	}
	if picture != "" {
		p.pictures(picture + "-0390")
	}
	p.wide()
	p.settled()
}

// TestTroubleIsAccessible has axe-core judge the pages of an empty cluster and of one in trouble, in light and dark.
func TestTroubleIsAccessible(t *testing.T) {
	looked := map[string]bool{"empty overview": true, "first overview": true, "first node": true, "busy overview": true, "busy channel": true, "busy dead": true, "busy keys": true}
	for _, state := range states {
		if !looked[state.name+" overview"] {
			continue
		}
		s := state.start(t)
		p := openTab(t, s.base)
		p.bringAxe()
		for _, sight := range state.pages(s) {
			if !looked[state.name+" "+sight.name] {
				continue
			}
			p.show(sight)
			for _, scheme := range []string{"light", "dark"} {
				p.scheme(scheme)
				p.settled()
				p.auditIn(scheme, state.name+": "+sight.name)
			}
			p.scheme("light")
		}
	}
}

// textRules and so on choose axe-core's rules; textRules are about what an author writes.
const (
	textRules   = `{ type: "rule", values: ["heading-order", "empty-heading", "page-has-heading-one", "link-name", "image-alt", "list", "listitem", "scrollable-region-focusable", "td-headers-attr", "th-has-data-cells", "empty-table-header", "duplicate-id-aria", "link-in-text-block", "identical-links-same-purpose"] }`
	allRules    = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`
	colourRules = `{ type: "rule", values: ["color-contrast", "link-in-text-block"] }`
	narrowRules = `{ type: "rule", values: ["target-size", "scrollable-region-focusable", "aria-hidden-focus", "button-name", "link-name", "label", "select-name", "td-headers-attr"] }`
)

// audit runs axe-core on what is shown, and fails the test for each thing that it finds.
func (p *tab) audit(what string) {
	p.t.Helper()
	p.judge(what, allRules)
}

// auditIn is audit of a page that is judged in light and dark: in dark only by the rules about colours.
func (p *tab) auditIn(scheme, what string) {
	p.t.Helper()
	rules := allRules
	if scheme == "dark" && !whole {
		rules = colourRules
	}
	p.judge(what+" in "+scheme, rules)
}

// auditNarrow is audit of a page on a phone that was judged on a desk.
func (p *tab) auditNarrow(what string) {
	p.t.Helper()
	rules := allRules
	if !whole {
		rules = narrowRules
	}
	p.judge(what+" on a phone", rules)
}

func (p *tab) judge(what, rules string) {
	p.t.Helper()
	type violation struct {
		ID, Help string
		Nodes    []struct {
			HTML           string
			FailureSummary string
		}
	}
	found := eval[[]violation](p, `(window.axe || bringAxe(), axe).run(document, { runOnly: `+rules+`, resultTypes: ["violations"], preload: false })
		.then((r) => r.violations)`)
	for _, v := range found {
		n := v.Nodes[0]
		p.t.Errorf("%s: %s: %s (%d times)\n%.300s\n%s", what, v.ID, v.Help, len(v.Nodes), n.HTML, n.FailureSummary)
	}
}

// bringAxe has each document that the tab opens from now on, until the test's end, bring axe-core along, for judge to begin. It is half a MiB of
// source: handed over this way the browser compiles it once, and what of it was compiled for one document is there for the next.
func (p *tab) bringAxe() {
	p.t.Helper()
	add := page.AddScriptToEvaluateOnNewDocumentParams{Source: "window.bringAxe = () => {" + axe(p.t) + "};"}
	added, err := chromedp.Call(p.ctx, page.AddScriptToEvaluateOnNewDocument, add)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		remove := page.RemoveScriptToEvaluateOnNewDocumentParams{Identifier: added.Identifier}
		if _, err := chromedp.Call(p.ctx, page.RemoveScriptToEvaluateOnNewDocument, remove); err != nil {
			p.t.Error(err)
		}
	})
}

// axe returns the source of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	file, err := os.Open("testdata/axe.min.js.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unzip)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
