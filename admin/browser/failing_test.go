package browser

import (
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"brokerd/admin/fakes"
)

func TestANodeThatIsKilledIsShownAsSuch(t *testing.T) {
	c := shop(t, 2)
	dead, alive := c.brokers[0], c.brokers[1]
	p := openTab(t, c.base)
	p.visit("topics/orders")
	p.see(dead.HTTP, alive.HTTP, "disk")

	dead.Kill(t)
	p.see("down")
	p.until("its row says for how long", `[...document.querySelectorAll("tr.stale")].some((r) => /`+dead.HTTP+`\s*down, \d+s/.test(r.innerText))`)

	// An act on every node is done where it can be, and the other is named.
	p.press("Pause")
	p.agree("Pause")
	p.told("Paused orders, but not everywhere.")
	p.until("the notice names the node", `document.querySelector(".notice.warning").innerText.includes("`+dead.HTTP+`")`)
	if has := alive.Topic(t, "orders"); !has.Paused {
		t.Error("the node that is there was not paused")
	}
	p.press("Dismiss")

	p.press("Nodes")
	p.see("down")
	p.press(dead.HTTP)
	p.see("This node does not answer", "old", "as of")
	p.press("Overview")
	p.see("1 down", "Needs attention", dead.HTTP)

	dead.Start(t)
	p.until("it is well again", `!document.body.innerText.includes("1 down")`)
}

func TestAnActThatFailsEverywhereSaysSoInItsDialog(t *testing.T) {
	c := newCluster(t, 1)
	c.create(t, "orders", "billing")
	p := openTab(t, c.base)
	p.mayWrite("502") // the browser's own line about the answer
	p.visit("topics/orders/billing")
	p.see("safe on disk")
	c.brokers[0].Kill(t)
	p.press("Empty")
	p.confirm("Empty", "billing")
	p.see("UPSTREAM_ERROR")
	p.press("Cancel")
	p.until("the dialog is gone", `!document.querySelector("dialog")`)
}

func TestALostConnectionIsShownAndComesBack(t *testing.T) {
	c := newCluster(t, 1)
	c.create(t, "orders", "billing")
	p := openTab(t, c.base)
	p.mayWrite("ERR_") // the browser's own lines about requests that nobody answered
	p.visit("")
	p.see("orders", "Live")
	c.admin.Kill(t)
	p.see("No connection to admind for", "Not connected", "orders")
	p.until("what is shown is dimmed", `document.querySelector("main.stopped")`)
	c.brokers[0].Post(t, "/topic/create?topic=meanwhile", nil)
	c.admin.Start(t)
	p.see("Live", "meanwhile")
	p.seeNoMore("No connection to admind")
	p.until("it is dimmed no more", `!document.querySelector("main.stopped")`)
}

// TestAPageThatDidNotComeIsAskedForAgain: one whose code nobody answered for, ahead and when it was opened, is shown once somebody does.
func TestAPageThatDidNotComeIsAskedForAgain(t *testing.T) {
	c := newCluster(t, 1)
	p := openTab(t, c.base)
	p.mayWrite("ERR_") // the browser's own lines about requests that nobody answered
	p.spent = true
	block := func(patterns ...*network.BlockPattern) {
		t.Helper()
		if _, err := chromedp.Call(p.ctx, network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: patterns}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chromedp.Call(p.ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	block(&network.BlockPattern{URLPattern: "*://*:*/static/*/js/pages/nodes.js", Block: true})
	p.visit("")
	p.see("Live")
	p.press("Nodes")
	p.until("the page of nodes is open and empty", `document.title.startsWith("Nodes") && document.querySelector("main").childElementCount === 0`)
	block()
	p.until("the page of nodes is shown", `document.querySelector("main h1")`)
}

// TestATitleStaysOnTopWhenAWarningGoes: on a page that was opened while the only node had not answered yet, once it does.
func TestATitleStaysOnTopWhenAWarningGoes(t *testing.T) {
	for _, page := range []string{"nodes", "consumers"} {
		slow := newBroker(t, "queue-1")
		slow.Fail(500)
		s := newStage(t, []*fakes.Broker{slow})
		p := openTab(t, s.base)
		p.visit(page)
		p.see("has never answered")
		slow.Fail(0)
		p.until("the warning is gone", `[...document.querySelectorAll(".note")].every((e) => !e.checkVisibility())`)
		for _, fault := range eval[[]string](p, misplaced) {
			t.Errorf("%s: %s", page, fault)
		}
	}
}
