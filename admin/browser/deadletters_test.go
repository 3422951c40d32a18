package browser

import (
	"strings"
	"testing"
)

// TestDeadLettersAreSentBack: a channel with a limit of deliveries says where its dead letters go, and has a button that sends them back.
func TestDeadLettersAreSentBack(t *testing.T) {
	c := newCluster(t, 2)
	c.create(t, "orders", "billing")
	p := openTab(t, c.base)
	p.visit("topics/orders/billing")
	p.see("Every message")
	p.seeNoMore("Dead letters")
	for _, b := range c.brokers {
		b.Post(t, "/channel/config?topic=orders&channel=billing", map[string]any{"max_attempts": 3})
	}
	p.see("Dead letters", "They go to", "orders.billing.dlq")
	for _, b := range c.brokers {
		b.Post(t, "/channel/config?topic=orders&channel=billing", map[string]any{"max_depth": 1, "overflow": "dead-letter"})
		for range 3 {
			b.Publish(t, "orders", "a book")
		}
	}
	p.visit("topics/orders.billing.dlq")
	p.see("Dead letters", "orders / billing", "overflow", "Last consumer")
	if told := c.ask(t, "api/letters?topic=orders"); !strings.Contains(told, `"nodes":[]`) || !strings.Contains(told, `"list":[]`) {
		t.Errorf("messages that wait are told to be dead letters: %s", told)
	}
	p.visit("topics/orders/billing")
	p.press("Send back")
	p.agree("Send back")
	p.told("Sending dead letters back to orders / billing.")
	for _, b := range c.brokers {
		if r := b.Channel(t, "orders", "billing"); r.DeadLetterTopic != "orders.billing.dlq" {
			t.Errorf("dead letters go to %q", r.DeadLetterTopic)
		}
	}
}
