package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestSearchByKeyboard(t *testing.T) {
	c := shop(t, 1)
	p := openTab(t, c.base)
	p.visit("")
	p.see("4 topics")
	p.slash()
	p.until("the search has the focus", `document.activeElement.role === "combobox" || document.activeElement.getAttribute("role") === "combobox"`)
	p.key("orders")
	p.until("something is found", `document.querySelectorAll("[role=option]").length >= 3`)
	chosen := `document.getElementById(document.activeElement.getAttribute("aria-activedescendant"))?.innerText`
	place := `document.activeElement.getAttribute("aria-activedescendant")` // what stands there has figures, which change
	p.until("one is chosen", place)
	first := eval[string](p, place)
	// An answer that comes after a key was pressed has its first chosen again, so a key is pressed again, as a person would.
	eventually(t, "the next is chosen", func() bool {
		p.key(kb.ArrowDown)
		return eval[bool](p, place+" !== "+quote(first))
	})
	eventually(t, "the first is chosen", func() bool {
		p.key(kb.ArrowUp)
		return eval[bool](p, place+" === "+quote(first))
	})
	p.key(kb.Escape)
	p.until("the text is gone", `document.activeElement.value === ""`)
	p.key(kb.Escape)
	p.until("the search is left", `document.activeElement === document.body`)
	p.slash()
	p.key("bill ord")
	p.until("words are found in any order", chosen+`?.includes("billing")`)
	p.key(kb.Enter)
	p.until("it is gone to", `location.pathname === "/topics/orders/billing"`)
	p.see("Over time")
}

func TestEverythingIsReachedByKeyboard(t *testing.T) {
	c := shop(t, 1)
	p := openTab(t, c.base)
	p.visit("topics/orders")
	p.see("Producers")
	p.key(kb.Tab)
	if name := p.focused(); name != "Skip to the content" {
		t.Fatalf("Tab goes to %q first", name)
	}
	p.key(kb.Enter)
	p.until("the content has the focus", `document.activeElement.id === "main"`)
	reached := make(map[string]bool)
	for range 40 {
		p.key(kb.Tab)
		reached[p.focused()] = true
		if !eval[bool](p, `document.activeElement === document.body || document.activeElement.matches(":focus-visible") && getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
			t.Errorf("nothing shows that %q has the focus", p.focused())
		}
	}
	for _, name := range []string{"Topics", "Publish…", "Create channel…", "Pause…", "Empty…", "Delete…", "1 hour", "archive", "billing", "Tombstone " + c.brokers[0].HTTP} {
		if !reached[name] {
			t.Errorf("Tab does not reach %q; it reaches %q", name, keys(reached))
		}
	}
}

func TestADialogKeepsTheFocus(t *testing.T) {
	c := shop(t, 1)
	p := openTab(t, c.base)
	p.visit("topics/orders")
	p.see("Producers")
	p.until("there is Publish", find("Publish"))
	eval[bool](p, "("+find("Publish")+".focus(), true)")
	p.key(kb.Enter)
	p.until("the dialog has the focus", `document.activeElement.tagName === "TEXTAREA"`)
	p.key("x")
	for i := range 12 {
		p.key(kb.Tab)
		inside := eval[bool](p, `Boolean(document.activeElement.closest("dialog")) || document.activeElement === document.body`)
		if !inside {
			t.Fatalf("after %d times Tab the focus is on %q, outside of the dialog", i+1, p.focused())
		}
	}
}

func TestArrowsMoveThroughALongList(t *testing.T) {
	c := newCluster(t, 1)
	for i := range 300 {
		c.brokers[0].Post(t, fmt.Sprintf("/topic/create?topic=t%04d", i), nil)
	}
	p := openTab(t, c.base)
	p.visit("")
	p.see("300 topics", "t0000")
	p.until("only rows in sight are built", `document.querySelectorAll("tbody tr[data-index]").length < 80`)
	eval[bool](p, `(document.querySelector("tbody a").focus(), true)`)
	for i := range 60 {
		p.key(kb.ArrowDown)
		p.until("the next row has the focus", fmt.Sprintf(`document.activeElement.textContent === "t%04d"`, i+1))
	}
	p.key(kb.End)
	p.until("the last row has the focus", `document.activeElement.textContent === "t0299"`)
	p.until("it is in sight", `(() => { const r = document.activeElement.getBoundingClientRect(); return r.top >= 0 && r.bottom < innerHeight + 1; })()`)
	p.key(kb.Home)
	p.until("the first row has the focus", `document.activeElement.textContent === "t0000"`)
	p.do(chromedp.Evaluate[chromedp.Void](`scrollTo(0, document.body.scrollHeight / 2)`))
	p.until("the middle is built", `[...document.querySelectorAll("tbody a")].some((a) => a.textContent === "t0150")`)
	rows := eval[int](p, `document.querySelector("tbody tr[data-index]").offsetHeight`)
	if rows != 33 {
		t.Errorf("a row is %d pixels high; the list counts on 33", rows)
	}
}

func keys(m map[string]bool) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}
