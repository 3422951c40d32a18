package admin_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/admin"
	"brokerd/admin/fakes"
	"brokerd/admin/views"
	"brokerd/protocol/httpapi"
)

// TestADeadBrokerIsRedUntilItIsDismissed, with what was on it, also to an admind that was started after it died.
func TestADeadBrokerIsRedUntilItIsDismissed(t *testing.T) {
	alive, dead := fakes.NewBroker(t, "alive"), fakes.NewBroker(t, "dead")
	dead.Stats.Topics = []httpapi.Topic{{TopicName: "orders", MessageCount: 500, Channels: []httpapi.Channel{{ChannelName: "billing", Depth: 321, MessageCount: 500}}}}
	l := fakes.NewLookup(t, alive, dead)
	state := filepath.Join(t.TempDir(), "state")
	start := func() *node {
		return startAdmin(t, func(o *admin.Options) { o.LookupdHTTPAddresses, o.StatePath = []string{l.Address()}, state })
	}
	overview := func(n *node) (o views.Overview) {
		n.get("/api/view/overview", &o)
		return o
	}
	n := start()
	eventually(t, "both are there", func() bool { return overview(n).Totals.Depth == 321 })
	dead.Kill()
	l.Change(func(l *fakes.Lookup) { l.Nodes = l.Nodes[:1] })
	eventually(t, "one is missed", func() bool { return overview(n).Totals.StaleNodes == 1 })
	stop(t, n)

	n = start()
	eventually(t, "a new admind misses it as well", func() bool {
		o := overview(n)
		return o.Totals.Nodes == 2 && o.Totals.StaleNodes == 1 && len(o.Attention) > 0 && o.Attention[0].Severity == "critical" &&
			strings.Contains(strings.Join(o.Attention[0].Effects, "\n"), "321 messages")
	})
	var page views.NodePage
	n.get("/api/view/node?node="+dead.Address(), &page)
	if !page.Node.Stale || !page.Node.MayDismiss || page.Node.Depth != 321 || len(page.Topics) != 1 || page.Topics[0].Topic != "orders" {
		t.Errorf("its page %+v", page)
	}
	n.act("POST", "/api/nodes/"+dead.Address(), `{"action":"dismiss"}`)
	eventually(t, "it is dismissed", func() bool { o := overview(n); return o.Totals.Nodes == 1 && len(o.Attention) == 0 })
	stop(t, n)

	n = start()
	eventually(t, "the other is there", func() bool { return overview(n).Totals.Nodes == 1 })
	if o := overview(n); o.Totals.StaleNodes != 0 || len(o.Attention) != 0 {
		t.Errorf("dismissed, it is back: %+v", o)
	}
}

// stop ends an admind before its test does.
func stop(t *testing.T, n *node) {
	t.Helper()
	if err := n.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestDismissingIsForOperators: a viewer is refused.
func TestDismissingIsForOperators(t *testing.T) {
	b := fakes.NewBroker(t, "b")
	n := startAdmin(t, func(o *admin.Options) {
		o.LookupdHTTPAddresses, o.AdminUsers = []string{fakes.NewLookup(t, b).Address()}, []string{"alice"}
	})
	if status, body := n.ask("POST", "/api/nodes/"+b.Address(), `{"action":"dismiss"}`); status != http.StatusForbidden {
		t.Errorf("%d %s", status, body)
	}
}
