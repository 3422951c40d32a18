package browser

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// widths are those of phones, tablets and desks.
var widths = []int64{360, 390, 700, 1024, 1440, 1920}

// documentation opens a tab on an admind that has nothing to show but its documentation.
func documentation(t *testing.T, flags ...string) *tab {
	t.Helper()
	c := newCluster(t, 0, flags...)
	return openTab(t, c.base)
}

// TestDocumentationIsReadAndSearched goes the way of a reader, below a base path.
func TestDocumentationIsReadAndSearched(t *testing.T) {
	p := documentation(t, "--base-path=/nsq")
	p.visit("")
	p.press("Docs")
	p.see("A message broker for NSQ's clients")
	p.until("the address is the documentation's", `location.pathname === "/nsq/docs/"`)
	p.press("Guarantees")
	p.see("What is promised, and what is not", "On this page")
	p.press("When the disk is full or fails")
	p.until("the heading is in sight", `location.hash === "#when-the-disk-is-full-or-fails"`)

	p.until("the page's script has run", `!document.querySelector(".search").hidden`)
	p.slash()
	p.key("checkpoint")
	p.until("something is found", `document.querySelectorAll("[role=option] a").length > 1`)
	p.key("\r")
	p.until("the first hit is open", `location.pathname !== "/nsq/docs/guarantees" && document.body?.innerText.toLowerCase().includes("checkpoint")`)

	p.press("Show in dark colours")
	p.until("it is dark", `document.documentElement.dataset.theme === "dark"`)
	p.press("Cluster")
	p.see("Overview")
	p.until("the choice holds on the other pages", `document.documentElement.dataset.theme === "dark"`)
}

// TestDocumentationReadsWithoutScripts: the menu and the text are there, and the search box, which would do nothing, is not.
func TestDocumentationReadsWithoutScripts(t *testing.T) {
	p := documentation(t)
	p.spent = true
	if _, err := chromedp.Call(p.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	p.narrow()
	p.visit("docs/guarantees")
	p.see("What is promised, and what is not", "Benchmarks")
	p.until("there is no search", `!document.querySelector(".search").checkVisibility()`)
	p.press("Benchmarks")
	p.see("How to read the tables")
}

func TestDocumentationSaysWhatIsNotThere(t *testing.T) {
	p := documentation(t)
	p.mayWrite("404")
	p.visit("docs/nosuch")
	p.see("There is no such page")
}

// largePage is the size, in bytes, from which on a page is judged by axe-core in make pages only: those are lists that are made of code, as smaller
// ones are, and take it seconds.
const largePage = 48 << 10

// TestDocumentationIsAccessibleAtEachWidth: axe-core finds nothing, no page is wider than its window, and menu, text and headings do not lie over
// each other.
func TestDocumentationIsAccessibleAtEachWidth(t *testing.T) {
	p := documentation(t)
	p.bringAxe()
	pages := documentationPages(t)
	for i, page := range pages {
		scheme := []string{"light", "dark"}[i%2] // a page is of the same parts as the others
		p.scheme(scheme)
		p.visit("docs/" + page)
		rules := textRules
		if whole || i%8 < 2 { // what is not its author's is the same on each page: a part in light and a part in dark shows it
			rules = allRules
		}
		if whole || eval[int](p, "document.documentElement.outerHTML.length") < largePage {
			p.judge(page+" in "+scheme, rules)
		}
		for _, width := range turn(i, 3, widths) {
			p.do(chromedp.EmulateViewport(width, 900))
			if over := eval[int](p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
				t.Errorf("%s at %d pixels is %d too wide", page, width, over)
			}
			if covered := eval[string](p, overlap); covered != "" {
				t.Errorf("%s at %d pixels: %s", page, width, covered)
			}
		}
		p.wide()
	}
	p.narrow()
	p.visit("docs/guarantees")
	p.press("Pages")
	p.see("Benchmarks")
	p.audit("menu on a phone")
	p.press("Benchmarks")
	p.see("How to read the tables")
}

// overlap is an expression for what lies over what of a page's columns, "" for nothing.
const overlap = `(() => {
	const parts = [...document.querySelectorAll(".menu, main, aside")].filter((e) => e.checkVisibility()).map((e) => [e.className || e.localName, e.getBoundingClientRect()]);
	for (const [a, r] of parts) for (const [b, s] of parts)
		if (a !== b && r.left < s.right - 1 && s.left < r.right - 1 && r.top < s.bottom - 1 && s.top < r.bottom - 1) return a + " over " + b;
	return "";
})()`

// documentationPages returns the addresses of all pages below docs/.
func documentationPages(t *testing.T) []string {
	t.Helper()
	var pages []string
	err := fs.WalkDir(os.DirFS("../docs/site"), ".", func(name string, _ fs.DirEntry, err error) error {
		if page, ok := strings.CutSuffix(name, ".html"); ok {
			pages = append(pages, strings.TrimSuffix(page, "index"))
		}
		return err
	})
	if err != nil || len(pages) < 2 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	return pages
}

// TestDocumentationScreenshots leaves a picture of some pages, light and dark, at three widths, in bin/screenshots/docs. They are for people to
// look at: it tests nothing.
func TestDocumentationScreenshots(t *testing.T) {
	if os.Getenv("ADMIN_PICTURES") == "" {
		t.Skip("NOT RUN: no pictures were asked for; ADMIN_PICTURES=1 makes them")
	}
	folder := filepath.Join("..", "..", "bin", "screenshots", "docs")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	p := documentation(t)
	for _, page := range []string{"", "concepts", "operations", "clients/go", "reference/brokerd"} {
		for _, scheme := range []string{"light", "dark"} {
			p.scheme(scheme)
			for _, width := range []int64{390, 1024, 1440} {
				p.do(chromedp.EmulateViewport(width, 900))
				p.visit("docs/" + page)
				picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
				if err != nil {
					t.Fatal(err)
				}
				name := fmt.Sprintf("%s-%d-%s.png", strings.ReplaceAll(cmp.Or(page, "home"), "/", "-"), width, scheme)
				if err := os.WriteFile(filepath.Join(folder, name), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
