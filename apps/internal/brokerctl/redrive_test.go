package brokerctl

import (
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// TestRedriveOfAChannel sends dead letters back, tells how far it is, and ends when the broker has.
func TestRedriveOfAChannel(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "lookupd", "brokerd")
	b := c.brokers[0]
	post := func(path, body string) {
		t.Helper()
		r, err := http.Post("http://"+b.HTTP+path, "", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if text, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, r.StatusCode, text)
		}
	}
	at := "--nsqd-http-address=" + b.HTTP
	post("/topic/create?topic=orders", "")
	post("/topic/config?topic=orders", `{"durability":"disk"}`)
	post("/channel/create?topic=orders&channel=billing", "")
	post("/channel/config?topic=orders&channel=billing", `{"max_attempts":1}`)
	ctl(t, 0, "channel", "redrive", "orders", "billing", at) // none have come yet
	if got := ctl(t, 0, "channel", "redrive", "orders", "billing", "--rate=5", "--dry-run", at); !strings.Contains(got, "/channel/redrive?channel=billing&rate=5&topic=orders") {
		t.Errorf("dry run: %s", got)
	}
	post("/mpub?topic=orders", "1\n2\n3")
	var failed atomic.Int32
	cfg := cmdtest.ClientConfig()
	cfg.MaxAttempts, cfg.MaxBackoffDuration = 0, 0
	consumer, err := nsq.NewConsumer("orders", "billing", cfg)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(log.New(io.Discard, "", 0), nsq.LogLevelMax)
	consumer.AddHandler(nsq.HandlerFunc(func(*nsq.Message) error {
		if failed.Add(1) <= 3 {
			return errors.New("not yet")
		}
		return nil
	}))
	if err := consumer.ConnectToNSQD(b.TCP); err != nil {
		t.Fatal(err)
	}
	defer func() {
		consumer.Stop()
		<-consumer.StopChan
	}()
	dead := func() bool {
		r, err := http.Get("http://" + b.HTTP + "/stats?format=json&topic=orders")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, _ := io.ReadAll(r.Body)
		return strings.Contains(string(text), `"dead_lettered":3`)
	}
	cmdtest.Eventually(t, "they are dead letters", 20*time.Second, dead)
	if got := ctl(t, 0, "channel", "redrive", "orders", "billing", at); !strings.Contains(got, "3 sent back from orders.billing.dlq, done") {
		t.Errorf("redrive: %s", got)
	}
	ctl(t, 1, "channel", "redrive", "orders", "billing", "--stop", at)
	ctl(t, 2, "channel", "redrive", "orders", "billing", "--rate=-1", at)
	ctl(t, 3, "channel", "redrive", "orders", "none", at)
}
