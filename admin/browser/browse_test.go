package browser

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"brokerd/protocol/httpapi"
)

// TestMessagesAreLookedAt: the tab of a channel shows what waits on every node and finds by text, a message's page shows its body as text and what
// each channel has of it, it is finished by hand on one node's channel and published again; nothing of a body is interpreted; every look is
// written down, and not what was searched for.
func TestMessagesAreLookedAt(t *testing.T) {
	c := newCluster(t, 2)
	c.create(t, "orders", "billing")
	c.create(t, "orders", "archive")
	evil := `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`
	for i, b := range c.brokers {
		b.Publish(t, "orders", fmt.Sprintf(`{"id":%d,"item":"a book","price":12345678901234567890.50}`, i))
		b.Publish(t, "orders", evil)
		b.Publish(t, "orders", "\xff\x00\x01binary")
	}
	p := openTab(t, c.base)
	p.wide()
	p.visit("topics/orders/billing")
	p.see("Figures")
	p.press("Messages")
	p.see("Waiting", "6 messages", `{"id":0,"item":"a book"`, evil, "ff 00 01")
	p.fill("Text in the body", `"id":1`)
	p.key("\r")
	p.see("1 message", `{"id":1,"item":"a book"`)
	p.seeNoMore(evil)
	var m httpapi.Messages
	c.brokers[1].Get(t, "/topic/messages?topic=orders&contains="+url.QueryEscape(`"id":1`), &m)
	id := m.Messages[0].ID
	p.press(id)
	p.see("Where it is", "in memory", "12345678901234567890.50", "next", "archive", "billing", c.brokers[1].HTTP)
	p.press("Hex")
	p.see("7b 22 69 64")
	p.press("Finish on billing")
	p.agree("Finish it")
	p.told("Finished " + id + " on orders / billing.")
	p.see("done")
	if ch := c.brokers[1].Channel(t, "orders", "billing"); ch.Depth != 2 || ch.Accounting.Discarded["by_hand"] != 1 {
		t.Errorf("billing is %+v", ch)
	}
	p.press("Publish again")
	p.agree("Publish")
	p.told("Published to orders on " + c.brokers[1].HTTP + ".")
	c.brokers[1].Get(t, "/topic/messages?topic=orders&body=full&from=pos:4", &m)
	if len(m.Messages) != 1 || *m.Messages[0].Body != `{"id":1,"item":"a book","price":12345678901234567890.50}` {
		t.Errorf("what was published again is %+v", m.Messages)
	}
	p.press("Read the log")
	p.see("discarded: by hand", "published")
	p.visit("topics/orders?messages=kept")
	p.see("Kept", evil)
	if eval[bool](p, "!!window.hacked") {
		t.Error("a body was interpreted")
	}
	log := c.admin.Log(t)
	if !strings.Contains(log, "action=read_messages topic=orders channel=billing") || !strings.Contains(log, "action=read_message topic=orders") ||
		!strings.Contains(log, "action=finish_message topic=orders channel=billing") {
		t.Error("not every look is written down")
	}
	if strings.Contains(log, "%22id%22%3A1") || strings.Contains(log, `\"id\":1`) {
		t.Error("what was searched for is in the log")
	}
}

// TestABodyOfBracketsIsShown: laid out it would be hundreds of MiB. It is shown as it is.
func TestABodyOfBracketsIsShown(t *testing.T) {
	c := newCluster(t, 1)
	c.create(t, "orders", "billing")
	c.brokers[0].Publish(t, "orders", strings.Repeat("[", 8000)+strings.Repeat("]", 8000))
	var m httpapi.Messages
	c.brokers[0].Get(t, "/topic/messages?topic=orders", &m)
	p := openTab(t, c.base)
	p.visit("topics/orders?message=" + m.Messages[0].ID)
	p.see("Where it is", "[[[[[[[[")
	if n := eval[int](p, `document.querySelector("pre.content").textContent.length`); n != 16000 {
		t.Errorf("the body has %d characters on the page", n)
	}
}

// TestAChannelIsRewoundAndSkipped: the dialogs say beforehand how many messages are concerned, and refuse what no node can do.
func TestAChannelIsRewoundAndSkipped(t *testing.T) {
	c := newCluster(t, 2)
	c.create(t, "orders", "billing")
	p := openTab(t, c.base)
	p.visit("topics/orders/billing")
	p.see("Every message")
	p.press("Rewind")
	p.see("No node can do it", "NOTHING_KEPT")
	for _, b := range c.brokers {
		b.Post(t, "/topic/config?topic=orders", map[string]any{"retain_time": "1h"})
		for range 3 {
			b.Publish(t, "orders", "a book")
		}
		b.Post(t, "/channel/empty?topic=orders&channel=billing", nil)
	}
	p.visit("topics/orders/billing")
	p.see("Every message")
	p.press("Rewind")
	p.see("6 messages will wait once more, on 2 nodes.")
	p.agree("Rewind")
	p.told("Rewound orders / billing.")
	for _, b := range c.brokers {
		if ch := b.Channel(t, "orders", "billing"); ch.Depth != 3 {
			t.Errorf("after a rewind %d wait", ch.Depth)
		}
	}
	p.press("Skip…")
	p.see("6 messages will be discarded, on 2 nodes.")
	p.fill("To go on, type the name of the channel: billing", "billing")
	p.agree("Skip")
	p.told("Skipped orders / billing.")
	for _, b := range c.brokers {
		if ch := b.Channel(t, "orders", "billing"); ch.Depth != 0 || ch.Accounting.Discarded["skipped"] != 3 {
			t.Errorf("after a skip: %+v", ch)
		}
	}
}

// TestPagesOfMessagesAreAccessible: the list, one message and the dialogs are judged by axe-core in light and dark and on a phone, and fit there.
func TestPagesOfMessagesAreAccessible(t *testing.T) {
	c := newCluster(t, 2)
	c.create(t, "orders", "billing")
	c.create(t, "orders", "archive")
	c.create(t, "orders", strings.Repeat("long-", 12)+"name")
	for i, b := range c.brokers {
		b.Post(t, "/topic/config?topic=orders", map[string]any{"retain_time": "1h"})
		for k := range 12 {
			b.Publish(t, "orders", fmt.Sprintf(`{"id":%d,"item":"a book","address":{"street":"%s","tags":["new","paid"]},"note":null}`, 100*i+k, strings.Repeat("a long way ", k)))
		}
		b.Publish(t, "orders", "first line\nsecond line\n\ttabbed \u202eturned")
		b.Post(t, "/pub?topic=orders&defer=3000000", "later")
	}
	var m httpapi.Messages
	c.brokers[0].Get(t, "/topic/messages?topic=orders&from=pos:8&limit=1", &m)
	list := []sight{
		{"messages of a topic", "topics/orders?messages=kept", "28 messages", ""},
		{"messages of a channel", "topics/orders/billing?messages=waiting", "26 messages", ""},
		{"deferred messages", "topics/orders/billing?messages=deferred", "2 messages", ""},
		{"message", "topics/orders?message=" + m.Messages[0].ID, "Where it is", ""},
		{"rewind", "topics/orders/billing", "Every message", "Rewind"},
		{"skip", "topics/orders/billing", "Every message", "Skip…"},
		{"finish", "topics/orders?message=" + m.Messages[0].ID, "Where it is", "Finish on billing"},
	}
	p := openTab(t, c.base)
	p.bringAxe()
	for _, s := range list {
		p.judgeInEachWay(s, "messages-"+strings.ReplaceAll(s.name, " ", "-"))
	}
}
