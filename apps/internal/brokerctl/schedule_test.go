package brokerctl

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// TestDeferredCancelRelease: what is published for later is listed, dropped and brought forward, and nothing else is touched.
func TestDeferredCancelRelease(t *testing.T) {
	b := cmdtest.Broker(t, "brokerd", nil, "--max-defer=48h")
	at := "--nsqd-http-address=" + b.HTTP
	tcp := "--nsqd-tcp-address=" + b.TCP
	ctl(t, 0, "topic", "create", "orders", at)
	ctl(t, 0, "channel", "create", "orders", "billing", at)
	ctl(t, 0, "pub", "orders", "one", "two", "three", "--defer=24h", tcp)
	ctl(t, 0, "pub", "orders", "four", "--at="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339), tcp)
	ctl(t, 0, "pub", "orders", "five", "--at=2001-01-01T00:00:00Z", "--ttl=1h", tcp)
	var rows []struct {
		Position uint64
		ID, Due  string
		Size     int
	}
	list := func() {
		t.Helper()
		if err := json.Unmarshal([]byte(ctl(t, 0, "deferred", "orders", "billing", "--json", at)), &rows); err != nil {
			t.Fatal(err)
		}
	}
	if list(); len(rows) != 4 || rows[0].Position != 4 || rows[1].Position != 1 || rows[2].Size != 3 {
		t.Fatalf("deferred: %+v", rows)
	}
	if got := ctl(t, 0, "deferred", "orders", "billing", "--limit=1", at); !strings.Contains(got, rows[0].ID) || !strings.Contains(got, "1 of 4") {
		t.Errorf("as a table: %s", got)
	}
	ctl(t, 0, "cancel", "orders", rows[1].ID, "--yes", at)
	ctl(t, 0, "cancel", "orders", "2", "billing", "--yes", at)
	ctl(t, 0, "release", "orders", "4", at)
	if list(); len(rows) != 1 || rows[0].Position != 3 {
		t.Errorf("then: %+v", rows)
	}
	if c := b.Channel(t, "orders", "billing"); c.Depth != 2 || c.DeferredCount != 1 {
		t.Errorf("channel: %+v", c)
	}
	for _, wrong := range []struct {
		args, says string
		code       int
	}{
		{"release orders 2", "nobody knows the message 2 of the topic orders as one that is deferred", 3},
		{"release orders x", "16 lower-case hex digits", 2},
		{"release orders 0", "a number from 1 on", 2},
		{"deferred orders --limit=0", "--limit must be from 1 to 1000", 2},
		{"deferred orders none", "nobody knows the channel none", 3},
		{"deferred orders billing --from=tomorrow", "INVALID_ARG_FROM", 1},
		{"pub orders m --at=2001-01-01T00:00:00Z --defer=1s", "--at or --defer", 2},
		{"pub orders m --at=tomorrow", "--at", 2},
		{"pub orders m --defer=49h", "E_INVALID", 1},
		{"pub orders m --ttl=1us", "ttl", 2},
	} {
		args := append(strings.Fields(wrong.args), at)
		if strings.HasPrefix(wrong.args, "pub") {
			args[len(args)-1] = tcp
			args = append(args, "--retry=0s")
		}
		if got := ctl(t, wrong.code, args...); !strings.Contains(got, wrong.says) {
			t.Errorf("%s: %s", wrong.args, got)
		}
	}
	other := cmdtest.Broker(t, "brokerd", nil)
	if got := ctl(t, 2, "release", "orders", "3", at, "--nsqd-http-address="+other.HTTP); !strings.Contains(got, "a position is one broker's own") {
		t.Errorf("a position on two brokers: %s", got)
	}
}
