package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"brokerd/protocol/httpapi"
)

// confirm types the name that a dangerous act asks for, and sees that nothing less will do.
func (p *tab) confirm(verb, name string) {
	p.t.Helper()
	field := "To go on, type the name of the"
	p.until("it asks for the name", find(field))
	if p.fill(field, name[:len(name)-1]); !eval[bool](p, find(verb)+".disabled") {
		p.t.Errorf("%s can be pressed with half of the name", verb)
	}
	p.fill(field, name)
	p.press(verb)
}

func TestTopicsActs(t *testing.T) {
	c := newCluster(t, 2)
	a, b := c.brokers[0], c.brokers[1]
	p := openTab(t, c.base)
	p.visit("")
	p.see("No topic yet")

	p.press("Create topic")
	p.fill("Topic", "not a name")
	p.see("Letters, digits, dots")
	p.fill("Topic", "orders")
	p.agree("Create")
	p.told("Created orders.")
	for _, broker := range c.brokers {
		broker.Post(t, "/topic/create?topic=orders", nil)
	}
	p.see(a.HTTP, b.HTTP)

	p.press("Publish")
	p.fill("Message", "a book\n{\"n\":1}")
	p.choose("Node", b.HTTP)
	p.agree("Publish")
	p.told("Published to orders on " + b.HTTP + ".")
	if has := b.Topic(t, "orders"); has.MessageCount != 1 || has.MessageBytes != uint64(len("a book\n{\"n\":1}")) {
		t.Errorf("the broker has %d messages of %d bytes", has.MessageCount, has.MessageBytes)
	}

	p.press("Pause")
	p.see("Messages keep coming in")
	p.agree("Pause")
	p.told("Paused orders.")
	p.see("paused")
	eventually(t, "the topic is paused everywhere", func() bool {
		x := a.Topic(t, "orders")
		y := b.Topic(t, "orders")
		return x.Paused && y.Paused
	})
	p.press("Unpause")
	p.told("Unpaused orders.")

	p.press("Empty")
	p.confirm("Empty", "orders")
	p.told("Emptied orders.")
	if has := b.Topic(t, "orders"); has.Depth != 0 {
		t.Errorf("emptied, the topic has %d messages", has.Depth)
	}

	p.press("Durability…")
	p.press("fsync")
	p.agree("Set")
	p.told("Set orders to fsync.")

	p.press("Create channel")
	p.fill("Channel", "billing")
	p.agree("Create")
	p.told("Created orders / billing.")
	if a.Channel(t, "orders", "billing").ChannelName == "" {
		t.Error("the channel is not on the broker")
	}

	p.press("Tombstone " + a.HTTP)
	p.confirm("Tombstone", "orders")
	p.told("Tombstoned orders on " + a.HTTP + ".")
	if a.Topic(t, "orders").TopicName != "" {
		t.Error("tombstoned, the topic is still on its node")
	}

	// The page that is left may ask for the options of what is no more: the browser writes that.
	p.mayWrite("/api/options/")
	p.press("Delete")
	p.confirm("Delete", "orders")
	p.told("Deleted orders.")
	p.see("No topic yet")
	if b.Topic(t, "orders").TopicName != "" {
		t.Error("deleted, the topic is still on a broker")
	}
}

func TestChannelsActs(t *testing.T) {
	c := newCluster(t, 2)
	c.create(t, "orders", "billing")
	for _, b := range c.brokers {
		b.Publish(t, "orders", "a book")
	}
	p := openTab(t, c.base)
	p.visit("topics/orders/billing")
	p.see("safe on disk")

	p.press("Pause")
	p.agree("Pause")
	p.told("Paused orders / billing.")
	p.see("paused")
	for _, b := range c.brokers {
		if has := b.Channel(t, "orders", "billing"); !has.Paused {
			t.Error("the channel is not paused on each broker")
		}
	}
	p.press("Unpause")
	p.told("Unpaused orders / billing.")

	p.press("Empty")
	p.confirm("Empty", "billing")
	p.told("Emptied orders / billing.")
	for _, b := range c.brokers {
		if has := b.Channel(t, "orders", "billing"); has.Depth != 0 {
			t.Errorf("emptied, the channel has %d messages", has.Depth)
		}
	}

	p.mayWrite("/api/options/")
	p.press("Delete")
	p.confirm("Delete", "billing")
	p.told("Deleted orders / billing.")
	p.see("No channel yet")
	for _, b := range c.brokers {
		if b.Channel(t, "orders", "billing").ChannelName != "" {
			t.Error("deleted, the channel is still there")
		}
	}
}

func TestNodesAndLookupsActs(t *testing.T) {
	c := newCluster(t, 1)
	c.create(t, "orders", "billing")
	c.lookup.Post(t, "/topic/create?topic=forgotten", nil)
	c.lookup.Post(t, "/channel/create?topic=forgotten&channel=left", nil)
	p := openTab(t, c.base)

	p.visit("nodes/" + c.brokers[0].HTTP)
	p.press("Tombstone orders")
	p.confirm("Tombstone", "orders")
	p.told("Tombstoned orders on " + c.brokers[0].HTTP + ".")
	if c.brokers[0].Topic(t, "orders").TopicName != "" {
		t.Error("the topic is still on its node")
	}

	p.press("Lookup")
	p.press("Delete channel left of forgotten")
	p.confirm("Delete", "left")
	p.told("Deleted forgotten / left.")
	p.press("Delete forgotten")
	p.confirm("Delete", "forgotten")
	p.told("Deleted forgotten.")
	var topics struct{ Topics []string }
	eventually(t, "the lookup has forgotten it", func() bool {
		c.lookup.Get(t, "/topics", &topics)
		return !strings.Contains(strings.Join(topics.Topics, " "), "forgotten")
	})

	p.press("Create topic or channel")
	p.fill("Topic", "planned")
	p.fill("Channel", "first")
	p.agree("Create")
	p.told("Created planned / first")
	c.lookup.Get(t, "/topics", &topics)
	if !strings.Contains(strings.Join(topics.Topics, " "), "planned") {
		t.Errorf("the lookup knows %q", topics.Topics)
	}
}

func TestEscapeLeavesADialogAndNothingHappens(t *testing.T) {
	c := newCluster(t, 1)
	c.create(t, "orders", "billing")
	p := openTab(t, c.base)
	p.visit("topics/orders")
	p.press("Delete")
	p.fill("To go on, type the name of the", "orders")
	p.key(kb.Escape)
	p.until("the dialog is gone", `!document.querySelector("dialog")`)
	if name := p.focused(); name != "Delete…" {
		t.Errorf("the focus is on %q, not on what opened the dialog", name)
	}
	if c.brokers[0].Topic(t, "orders").TopicName == "" {
		t.Error("the topic was deleted")
	}
}

// TestOptionsForm: the page shows options with where they come from; the form sets them without leaving the page, and says beside the field
// what the brokers refuse.
func TestOptionsForm(t *testing.T) {
	c := newCluster(t, 2)
	c.create(t, "orders", "billing")
	p := openTab(t, c.base)
	p.expect = append(p.expect, "400 (Bad Request)") // of what is refused
	p.visit("topics/orders/billing")
	p.see("Options", "Everything is at its default.")
	p.press("Set options…")
	p.see("Options of orders / billing", "It must be a whole number from 1 to 65535.")
	p.fill("max_attempts", "0")
	p.press("Set")
	p.see("must be a whole number from 1 to 65535, not 0")
	p.pictures("options-refused")
	p.fill("max_attempts", "7")
	p.fill("backoff", "exponential:1s..15m")
	p.pictures("options-form")
	p.agree("Set")
	p.told("Set options of orders / billing.")
	p.see("exponential:1s..15m", "set for the channel")
	for _, b := range c.brokers {
		var is httpapi.Options
		b.Get(t, "/channel/config?topic=orders&channel=billing", &is)
		if v := is.Options["max_attempts"]; v.Value != 7.0 || v.Source != "channel" {
			t.Errorf("a broker has %+v", v)
		}
	}
	p.pictures("options-set")
	p.press("Set options…")
	p.fill("backoff", " ")
	p.agree("Set")
	p.told("Set options of orders / billing.")
	eventually(t, "the default is back", func() bool {
		var is httpapi.Options
		c.brokers[0].Get(t, "/channel/config?topic=orders&channel=billing", &is)
		return is.Options["backoff"].Source == "default"
	})
	p.visit("topics/orders")
	p.press("Set options…")
	p.fill("max_depth", "1000")
	p.agree("Set")
	p.told("Set options of orders.")
	p.see("set for the topic")
}
