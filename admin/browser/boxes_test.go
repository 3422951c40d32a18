package browser

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"brokerd/admin/fakes"
)

// windows are the widths at which each page is looked at: phones, half a screen, desks.
var windows = []int64{360, 390, 700, 1100, 1440, 1920}

// state is a cluster as an operator finds it, and its pages: what can be read on each once it is there.
type state struct {
	name  string
	start func(t *testing.T) *stage
	pages func(s *stage) []sight
}

// general are the pages that every cluster has.
func general(more ...sight) []sight {
	return append([]sight{{name: "nodes", path: "nodes", see: "Nodes"}, {name: "consumers", path: "consumers", see: "Consumers"},
		{name: "lookup", path: "lookup", see: "Inactive topics"}}, more...)
}

var states = []state{
	{"empty", func(t *testing.T) *stage { return newStage(t, nil) }, func(*stage) []sight { return general(sight{name: "overview", see: "No broker yet"}) }},
	{"first", func(t *testing.T) *stage { return newStage(t, []*fakes.Broker{newBroker(t, "queue-1")}) }, func(s *stage) []sight {
		return general(sight{name: "overview", see: "No topic yet"}, sight{name: "node", path: "nodes/" + s.brokers[0].Address(), see: "No topic."})
	}},
	{"healthy", healthy, func(s *stage) []sight {
		return general(sight{name: "overview", see: "4 topics"}, sight{name: "topic", path: "topics/orders", see: "Producers"},
			sight{name: "channel", path: "topics/orders/billing", see: "Latency"}, sight{name: "node", path: "nodes/" + s.brokers[0].Address(), see: "About"},
			sight{name: "consumer", path: "consumers?client=billing-1.shop.example.com", see: "Subscriptions"})
	}},
	{"busy", func(t *testing.T) *stage { s := busy(t); return s.withDead(t, 1) }, func(s *stage) []sight {
		return general(sight{name: "overview", see: "1 down"}, sight{name: "topic", path: "topics/orders", see: "Producers"},
			sight{name: "channel", path: "topics/orders/fraud", see: "Latency"}, sight{name: "paused", path: "topics/invoices/reports", see: "Latency"},
			sight{name: "failing", path: "topics/mail.outbound/smtp", see: "Latency"}, sight{name: "long", path: "topics/" + long("warehouse.") + "/" + long("stock-keeping."), see: "Latency"},
			sight{name: "down", path: "topics/only.here", see: "Producers"}, sight{name: "dead", path: "nodes/" + s.brokers[1].Address(), see: "does not answer"},
			sight{name: "sick", path: "nodes/" + s.brokers[3].Address(), see: "no space left"}, sight{name: "delete", path: "topics/orders", see: "Producers", press: "Delete"},
			sight{name: "publish", path: "topics/orders", see: "Producers", press: "Publish"}, sight{name: "keys", see: "1 down", press: "Keys"})
	}},
	{"crowded", crowded, func(s *stage) []sight {
		return general(sight{name: "overview", see: "5,000 topics"}, sight{name: "node", path: "nodes/" + s.brokers[0].Address(), see: "About"})
	}},
	{"hostile", hostile, func(s *stage) []sight {
		name := url.PathEscape(hostileNames[0])
		return general(sight{name: "overview", see: "topics"}, sight{name: "topic", path: "topics/" + name, see: "Producers"},
			sight{name: "channel", path: "topics/" + name + "/" + name, see: "Latency"}, sight{name: "rtl", path: "topics/" + url.PathEscape(hostileNames[5]), see: "Producers"},
			sight{name: "consumer", path: "consumers?client=" + url.QueryEscape(hostileNames[9]+"@"+hostileNames[10]), see: "Subscriptions"},
			sight{name: "node", path: "nodes/" + s.brokers[0].Address(), see: "About"})
	}},
}

// withDead kills a broker that admind has seen, and the lookup forgets it.
func (s *stage) withDead(t *testing.T, i int) *stage {
	t.Helper()
	dead := s.brokers[i]
	eventually(t, "admind has seen all brokers", func() bool {
		for _, b := range s.brokers {
			if b.Asked() < 2 {
				return false
			}
		}
		return true
	})
	dead.Kill()
	s.lookup.Change(func(l *fakes.Lookup) { l.Nodes = append(l.Nodes[:i:i], l.Nodes[i+1:]...) })
	return s
}

// misplaced looks for what does not stand where it belongs: it returns a line for each fault.
const misplaced = `(() => {
	const faults = [], seen = (e) => e.checkVisibility() && e.getBoundingClientRect().width > 0;
	const box = (e) => e.getBoundingClientRect(), text = (e) => e.textContent.trim().slice(0, 40);
	const title = document.querySelector("main h1"), first = [...document.querySelectorAll("main > *")].find(seen);
	if (title && first && !first.contains(title)) faults.push("the page's title is not on top, but: " + text(first));
	for (const c of document.querySelectorAll("td:has(.badge:only-child)")) if (seen(c) && c.scrollWidth > c.clientWidth) faults.push("the word " + text(c) + " is cut: " + c.scrollWidth + " of " + c.clientWidth + " px, " + box(c.querySelector(".badge")).width);
	const over = document.documentElement.scrollWidth - innerWidth;
	if (over > 0) faults.push("the page is " + over + " px too wide");
	for (const table of document.querySelectorAll("table")) {
		const name = table.getAttribute("aria-label") + ": ", heads = [...table.querySelectorAll("thead th")];
		for (const h of heads) {
			if (!seen(h)) faults.push(name + "a column without room: " + text(h));
			if (h.scrollWidth > h.clientWidth + 1) faults.push(name + "the head " + text(h) + " is cut");
		}
		if (box(heads[0]).width < 83) faults.push(name + "the names have " + box(heads[0]).width + " px");
		for (const row of [...table.querySelectorAll("tbody tr[data-index]")].slice(0, 40)) {
			const cells = [...row.children], r = box(row);
			if (cells.length !== heads.length) { faults.push(name + cells.length + " cells under " + heads.length + " heads"); break; }
			cells.forEach((c, i) => {
				const b = box(c), h = box(heads[i]);
				if (Math.abs(b.left - h.left) > 1 || Math.abs(b.right - h.right) > 1) faults.push(name + text(c) + " is not under " + text(heads[i]));
				if (b.top < r.top - 1 || b.bottom > r.bottom + 1) faults.push(name + text(c) + " is not in its row");
				if (c.classList.contains("number") && c.scrollWidth > c.clientWidth + 1) faults.push(name + "the figure " + text(c) + " under " + text(heads[i]) + " is cut");
				if (i > 0 && b.left < box(cells[i - 1]).right - 1) faults.push(name + text(c) + " stands over " + text(cells[i - 1]));
			});
		}
	}
	const apart = (what, elements) => elements.forEach((a, i) => elements.slice(i + 1).forEach((b) => {
		const x = box(a), y = box(b);
		if (x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 1 && y.top < x.bottom - 1) faults.push(what + ": " + text(a) + " and " + text(b) + " stand on each other");
	}));
	for (const parent of document.querySelectorAll(".bar, .bar nav, .ends, .page-head, .tools, .tiles, .census, .section-head, .attention, .attention li, .charts, .facts, main, .first ol, .command"))
		apart(parent.className || parent.tagName, [...parent.children].filter((e) => seen(e) && getComputedStyle(e).position !== "absolute"));
	for (const nav of document.querySelectorAll(".bar nav, .filters")) if (nav.scrollWidth > nav.clientWidth + 1) faults.push((nav.className || "the navigation") + " is cut by " + (nav.scrollWidth - nav.clientWidth) + " px");
	for (const v of document.querySelectorAll(".tile .value")) if (v.scrollWidth > v.clientWidth + 1) faults.push("the tile " + text(v.parentNode) + " is cut");
	for (const e of document.querySelectorAll(".badge, button, .section-head h2")) {
		const outside = seen(e) && !e.closest("td, th, nav, .filters") && (box(e).left < -1 || box(e).right > innerWidth + 1);
		if (outside) faults.push(text(e) + " is outside of the window");
	}
	return [...new Set(faults)].slice(0, 12);
})()`

// TestEverythingStandsWhereItBelongs at each width, on each page, in each state of the cluster: each column under its head, in its row, with its
// figures whole, and nothing over anything else. With ADMIN_PICTURES=1 it leaves a picture of each, light and dark, in bin/screenshots.
func TestEverythingStandsWhereItBelongs(t *testing.T) {
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			s := state.start(t)
			p := openTab(t, s.base)
			p.mayWrite("404") // the browser's own line about a page of a name that no path can have
			if state.name == "hostile" {
				p.mayWrite("400") // and about dead letters of a name that no topic can have
			}
			for i, sight := range state.pages(s) {
				p.show(sight)
				for _, width := range turn(i, 3, windows) {
					p.do(chromedp.EmulateViewport(width, 900))
					p.settled()
					for _, fault := range eval[[]string](p, misplaced) {
						t.Errorf("%s at %d px: %s", sight.name, width, fault)
					}
					p.pictures(fmt.Sprintf("%s-%s-%04d", state.name, sight.name, width))
				}
			}
		})
	}
}

// settled waits until what depends on the window's width has followed it.
func (p *tab) settled() {
	p.t.Helper()
	eval[bool](p, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(true)))))`)
}

// pictures leaves pictures of the page in bin/screenshots, light and dark, if they were asked for.
func (p *tab) pictures(name string) {
	p.t.Helper()
	if os.Getenv("ADMIN_PICTURES") == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		p.scheme(scheme)
		p.settled()
		p.picture(name + "-" + scheme)
	}
	p.scheme("light")
}

// picture leaves a picture of what is in sight in bin/screenshots.
func (p *tab) picture(name string) {
	p.t.Helper()
	folder, err := filepath.Abs("../../bin/screenshots")
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		p.t.Fatal(err)
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if !strings.HasPrefix(string(png), "\x89PNG") {
		p.t.Fatalf("%s is no picture", name)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}
