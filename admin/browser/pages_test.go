package browser

import (
	"errors"
	"testing"

	"github.com/nsqio/go-nsq"
)

// shop is a cluster with something on every page: topics with and without consumers, one paused, one that only the lookup knows.
func shop(t *testing.T, brokers int, flags ...string) *cluster {
	t.Helper()
	c := newCluster(t, brokers, flags...)
	c.create(t, "orders", "billing")
	c.create(t, "orders", "archive")
	c.create(t, "mail.outbound", "smtp")
	c.create(t, "clicks", "metrics#ephemeral")
	c.consume(t, "orders", "billing", "billing-1", nil)
	c.consume(t, "mail.outbound", "smtp", "smtp-1", func(m *nsq.Message) error {
		m.RequeueWithoutBackoff(0)
		return errors.New("refused")
	})
	for _, b := range c.brokers {
		for range 30 {
			b.Publish(t, "orders", "a book")
		}
		b.Publish(t, "mail.outbound", "to nobody")
		b.Post(t, "/topic/pause?topic=clicks", nil)
	}
	c.lookup.Post(t, "/channel/create?topic=forgotten&channel=left", nil)
	return c
}

func TestEachPageShowsTheCluster(t *testing.T) {
	c := shop(t, 2)
	p := openTab(t, c.base)

	p.visit("")
	p.see("messages published", "4 topics", "2 nodes", "1 lookup", "orders", "mail.outbound", "paused", "no node", "Live")
	p.see("Needs attention", "archive of orders")

	p.press("orders")
	p.see("Channels", "archive", "billing", "Producers", c.brokers[0].HTTP, c.brokers[1].HTTP, "disk")
	p.until("the address is the topic's", `location.pathname === "/topics/orders" && document.title === "orders – admind"`)
	p.until("time is drawn", `document.querySelectorAll(".chart canvas").length >= 2`)

	p.press("billing")
	p.see("Consumers", "billing-1.test", "snappy", "go-nsq/1.1.0", "Over time", "Failing", "Nodes", "Latency")

	p.press("billing-1.test")
	p.see("Subscriptions", "Client id", "to 2 nodes", "orders")

	p.press("Nodes")
	p.see(c.brokers[0].HTTP, c.brokers[1].HTTP, "1.3.0", "ok")
	p.press(c.brokers[0].HTTP)
	p.see("About", "Heap in use", "TCP", c.brokers[0].TCP, "Topics", "mail.outbound")

	p.press("Consumers")
	p.see("billing-1.test", "smtp-1.test", "4 connections")
	p.fill("Filter consumers", "smtp")
	p.see("2 of 4 connections")
	p.seeNoMore("billing-1.test")

	p.press("Lookup")
	p.see(c.lookup.HTTP, "Inactive topics", "forgotten", "left")
}

func TestPagesFollowTheClusterWithoutReload(t *testing.T) {
	c := newCluster(t, 1)
	p := openTab(t, c.base)
	p.visit("")
	p.see("No topic yet", "curl -d 'first message' 'http://"+c.brokers[0].HTTP+"/pub?topic=hello'")
	eval[bool](p, "window.same = true")

	c.brokers[0].Publish(t, "hello", "first message")
	p.see("1 topic", "hello")
	p.press("hello")
	p.see("No channel yet")
	c.create(t, "hello", "world")
	p.see("world")
	c.brokers[0].Post(t, "/topic/delete?topic=hello", nil)
	c.lookup.Post(t, "/topic/delete?topic=hello", nil)
	p.see("No such topic")
	p.press("To the overview")
	p.see("No topic yet")
	if !eval[bool](p, "window.same") {
		t.Error("the page was loaded anew meanwhile")
	}
}

func TestEverythingWorksBelowABasePath(t *testing.T) {
	c := shop(t, 1, "--base-path=/ops/queues")
	p := openTab(t, c.base)
	p.mayWrite("/api/options/") // of a topic that its broker has not told of yet
	p.visit("topics/clicks")
	p.see("clicks", "metrics#ephemeral", "paused")
	p.press("metrics#ephemeral")
	p.see("ephemeral", "No consumer is connected")
	p.press("Topics")
	p.see("4 topics")
	p.press("Create topic")
	p.fill("Topic", "below")
	p.agree("Create")
	p.until("the address is below the base", `location.pathname === "/ops/queues/topics/below"`)
	p.told("Created below.")
}

func TestATopicCalledDot(t *testing.T) {
	c := shop(t, 1)
	c.brokers[0].Post(t, "/channel/create?topic=orders&channel=..", nil)
	c.brokers[0].Post(t, "/topic/create?topic=.", nil)
	p := openTab(t, c.base)
	p.visit("")
	p.press(".")
	p.until("its page is there", `document.querySelector("h1")?.textContent.trim().startsWith(".") && location.pathname === "/topics/~."`)
	p.see("No channel yet")
	p.press("Pause")
	p.agree("Pause")
	p.see("Unpause")
	p.visit("topics/orders")
	p.press("..")
	p.until("the channel's page is there", `location.pathname === "/topics/orders/~.."`)
	p.see("No consumer is connected")
}

func TestListSortsAndFilters(t *testing.T) {
	c := shop(t, 1)
	p := openTab(t, c.base)
	p.visit("")
	first := `document.querySelector("tbody tr[data-index='0'] a")?.textContent`
	p.until("it is sorted by name", first+` === "clicks"`)
	p.press("Depth")
	p.until("the deepest is first", first+` === "orders"`)
	if sort := eval[string](p, `document.querySelector("th[aria-sort=descending]").textContent`); sort != "Depth↓" {
		t.Errorf("sorted by %q", sort)
	}
	p.fill("Filter topics", "mail")
	p.see("1 of 4")
	p.until("it is what was asked for", first+` === "mail.outbound"`)
	p.fill("Filter topics", "zebra")
	p.see("No topic has “zebra” in its name.")
	p.fill("Filter topics", "c")
	p.press("Paused")
	p.see("1 of 4")
	p.until("it is the paused one", first+` === "clicks"`)
}
