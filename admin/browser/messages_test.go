package browser

import (
	"testing"

	"brokerd/protocol/httpapi"
)

// TestDeferredMessagesAreListed: the page of a channel lists what is deferred on every node, releases one message and drops another, each on
// its node alone.
func TestDeferredMessagesAreListed(t *testing.T) {
	c := newCluster(t, 2)
	c.create(t, "orders", "billing")
	p := openTab(t, c.base)
	p.wide()
	p.visit("topics/orders/billing")
	p.see("Every message")
	p.seeNoMore("Position")
	var ids []string
	for _, b := range c.brokers {
		b.Post(t, "/pub?topic=orders&defer=3000000", "a book")
		b.Post(t, "/pub?topic=orders&defer=3000000", "two pens")
		var d httpapi.DeferredMessages
		b.Get(t, "/channel/deferred?topic=orders&channel=billing", &d)
		for _, m := range d.Messages {
			ids = append(ids, m.ID)
		}
	}
	if len(ids) != 4 {
		t.Fatalf("%d messages are deferred", len(ids))
	}
	p.see("Due", "Position")
	p.see(ids...)
	p.press("Release " + ids[0])
	p.see("Released " + ids[0] + " on orders / billing.")
	p.press("Cancel " + ids[3])
	p.agree("Drop it")
	p.see("Cancelled " + ids[3] + " on orders / billing.")
	p.until("two rows are left", `document.querySelectorAll("table[aria-label^='Deferred messages'] tbody tr:not([hidden])").length === 2`)
	first, second := c.brokers[0].Channel(t, "orders", "billing"), c.brokers[1].Channel(t, "orders", "billing")
	if first.Depth != 1 || first.DeferredCount != 1 || second.Depth != 0 || second.DeferredCount != 1 || second.Accounting.Discarded["cancelled"] != 1 {
		t.Errorf("the nodes have %+v and %+v", first, second)
	}
}
