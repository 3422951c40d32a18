package browser

import "testing"

func TestANodeThatIsKilledIsShownAsSuch(t *testing.T) {
	c := shop(t, 2)
	dead, alive := c.brokers[0], c.brokers[1]
	p := openTab(t, c.base)
	p.visit("topics/orders")
	p.see(dead.http, alive.http, "disk")

	dead.kill()
	p.see("stale")
	p.until("its row says how old it is", `[...document.querySelectorAll("tr.stale")].some((r) => /`+dead.http+`\s*stale, \d+s old/.test(r.innerText))`)

	// An act on every node is done where it can be, and the other is named.
	p.press("Pause")
	p.agree("Pause")
	p.see("Paused orders, but not everywhere.")
	p.until("the notice names the node", `document.querySelector(".notice.warning").innerText.includes("`+dead.http+`")`)
	if has, _ := alive.topic(t, "orders"); !has.Paused {
		t.Error("the node that is there was not paused")
	}
	p.press("Dismiss")

	p.press("Nodes")
	p.see("stale")
	p.press(dead.http)
	p.see("This node does not answer.", "old")
	p.press("Overview")
	p.see("1 stale", "Needs attention", dead.http)

	dead.start(t)
	p.until("it is well again", `!document.body.innerText.includes("1 stale")`)
}

func TestAnActThatFailsEverywhereSaysSoInItsDialog(t *testing.T) {
	c := newCluster(t, 1)
	c.create(t, "orders", "billing")
	p := openTab(t, c.base)
	p.mayWrite("502") // the browser's own line about the answer
	p.visit("topics/orders/billing")
	p.see("messages waiting")
	c.brokers[0].kill()
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
	c.admin.kill()
	p.see("No connection to admind for", "Not connected", "orders")
	c.brokers[0].post(t, "/topic/create?topic=meanwhile", "")
	c.admin.start(t)
	p.see("Live", "meanwhile")
	p.seeNoMore("No connection to admind")
}
