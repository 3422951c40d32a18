package brokerctl

import (
	"net/http"
	"strings"
	"testing"
)

// TestRewindSkipAndRetain: a topic is told to keep, a channel reads again and passes over; what cannot be taken back needs --yes where nobody
// can be asked.
func TestRewindSkipAndRetain(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "lookupd", "brokerd")
	b := c.brokers[0]
	post := func(path, body string) {
		t.Helper()
		r, err := http.Post("http://"+b.HTTP+path, "", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if r.Body.Close(); r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", path, r.StatusCode)
		}
	}
	at := "--nsqd-http-address=" + b.HTTP
	post("/topic/create?topic=orders", "")
	post("/topic/config?topic=orders", `{"durability":"disk"}`)
	post("/channel/create?topic=orders&channel=billing", "")
	if got := ctl(t, 0, "retain", "orders", at); !strings.Contains(got, "nothing is kept") {
		t.Errorf("at first: %s", got)
	}
	ctl(t, 1, "channel", "rewind", "orders", "billing", "--to=beginning", "--yes", at)
	ctl(t, 0, "retain", "orders", "--time=24h", "--bytes=1GiB", at)
	if got := ctl(t, 0, "retain", "orders", "--json", at); !strings.Contains(got, `"from_position": 1`) {
		t.Errorf("kept: %s", got)
	}
	post("/mpub?topic=orders", "1\n2\n3")
	post("/channel/empty?topic=orders&channel=billing", "")
	if got := ctl(t, 0, "channel", "rewind", "orders", "billing", "--to=-1h", "--yes", at); !strings.Contains(got, `"messages":3`) {
		t.Errorf("rewind: %s", got)
	}
	ctl(t, 2, "channel", "skip", "orders", "billing", "--to=end", at) // nobody can be asked
	if got := ctl(t, 0, "channel", "skip", "orders", "billing", "--to=pos:3", "--yes", at); !strings.Contains(got, `"messages":2`) {
		t.Errorf("skip: %s", got)
	}
	ctl(t, 2, "channel", "skip", "orders", "billing", "--yes", at)
	ctl(t, 0, "retain", "orders", "--off", "--yes", at)
	if got := ctl(t, 0, "retain", "orders", at); !strings.Contains(got, "nothing is kept") {
		t.Errorf("at last: %s", got)
	}
}
