package brokerctl

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// TestTrace: a message is found by its id on all brokers, with what each channel has of it, and finished by hand on one of them.
func TestTrace(t *testing.T) {
	l := cmdtest.Lookup(t, "lookupd")
	a, b := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{l}), cmdtest.Broker(t, "brokerd", []*cmdtest.Process{l})
	for _, broker := range []*cmdtest.Process{a, b} {
		broker.Create(t, "orders", "billing")
		broker.Create(t, "orders", "archive")
		broker.Publish(t, "orders", `{"id":7}`)
	}
	at := "--lookupd-http-address=" + l.HTTP
	cmdtest.Eventually(t, "the lookup knows both", 10*time.Second, func() bool {
		var rows []peekRow
		return json.Unmarshal([]byte(ctl(t, 0, "peek", "orders", "--json", at)), &rows) == nil && len(rows) == 2
	})
	var rows []peekRow
	if err := json.Unmarshal([]byte(ctl(t, 0, "peek", "orders", "--json", "--nsqd-http-address="+b.HTTP)), &rows); err != nil {
		t.Fatal(err)
	}
	id := rows[0].ID
	got := ctl(t, 0, "trace", "orders", id, at, "--history")
	for _, want := range []string{b.HTTP, id, "\"id\": 7", "archive", "billing", "waiting", "about 0 before it", "published"} {
		if !strings.Contains(got, want) {
			t.Errorf("trace has no %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, a.HTTP) {
		t.Errorf("a broker that does not have it is shown:\n%s", got)
	}
	ctl(t, 0, "finish", "orders", id, "billing", "--yes", at)
	if ch := b.Channel(t, "orders", "billing"); ch.Depth != 0 || ch.Accounting.Discarded["by_hand"] != 1 {
		t.Errorf("billing is %+v", ch)
	}
	for _, c := range []struct {
		args, says string
		code       int
	}{
		{"trace orders 00000000000000ff", "nobody knows the message 00000000000000ff of the topic orders", 3},
		{"trace none 1", "nobody knows the message 1 of the topic none", 3},
		{"trace orders one", "not by", 2},
		{"finish orders " + id + " billing --yes", "nobody knows the message", 3},
		{"finish orders 1 billing --yes", "a position is one broker's own", 2},
		{"finish orders " + id + " archive", "--yes", 2},
	} {
		if got := ctl(t, c.code, append(strings.Fields(c.args), at)...); !strings.Contains(got, c.says) {
			t.Errorf("%s: %s", c.args, got)
		}
	}
}
