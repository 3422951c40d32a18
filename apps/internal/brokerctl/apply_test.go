package brokerctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/apps/appkit"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// settled is a cluster of two brokers that the lookup knows, with a topic on each.
func settled(t *testing.T, broker string) *cluster {
	t.Helper()
	lookup := "lookupd"
	if broker == "nsqd" {
		lookup = "nsqlookupd"
	}
	c := newCluster(t, lookup, broker)
	c.brokers[0].Create(t, "orders", "billing", "audit", "gone#ephemeral")
	c.brokers[1].Create(t, "orders", "billing", "audit")
	c.brokers[1].Create(t, "letters.in")
	c.brokers[1].Create(t, "short#ephemeral")
	for _, b := range c.brokers {
		b.Act(t, "/channel/pause", "orders", "audit")
	}
	c.knows(t, "orders", 2)
	c.knows(t, "letters.in", 1)
	return c
}

// TestDumpAndApply: what was dumped differs in nothing from what is there; applied to an empty cluster it makes the same; a dry run
// changes nothing; nothing is deleted without --prune; and a prune deletes exactly what the file does not name.
func TestDumpAndApply(t *testing.T) {
	for _, make := range []string{"brokerd", "nsqd"} {
		t.Run(make, func(t *testing.T) {
			t.Parallel()
			c := settled(t, make)
			if make == "brokerd" {
				for _, b := range c.brokers {
					b.Post(t, "/topic/config?topic=orders", map[string]any{"durability": "fsync", "max_depth": 1000, "ttl": "7d"})
					b.Post(t, "/channel/config?topic=orders&channel=billing", map[string]any{"max_attempts": 10, "backoff": "list:1s,10s"})
				}
			}
			file := filepath.Join(t.TempDir(), "topics.toml")
			keep := func(text string) {
				t.Helper()
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			dumped := say(t, "", nil, append([]string{"dump"}, c.args...)...)
			if dumped.code != appkit.ExitOK || strings.Contains(dumped.out, "ephemeral") || !strings.Contains(dumped.out, "[topic.orders.channel.audit]\npaused = true") {
				t.Fatalf("%+v", dumped)
			}
			keep(dumped.out)
			apply := func(at *cluster, flags ...string) said {
				t.Helper()
				got := say(t, "", nil, append(append([]string{"apply", file}, flags...), at.args...)...)
				if got.code != appkit.ExitOK {
					t.Errorf("apply %q: %+v", flags, got)
				}
				return got
			}
			if got := apply(c, "--prune"); got.out != "" || got.errors != "nothing differs\n" {
				t.Errorf("to where it came from: %+v", got)
			}
			fresh := newCluster(t, c.lookup.Name, make)
			cmdtest.Eventually(t, "the lookup knows both brokers", 0, func() bool {
				return strings.Count(say(t, "", nil, append([]string{"node", "list"}, fresh.args...)...).out, "127.0.0.1:") == 4
			})
			if got := apply(fresh, "--dry-run"); !strings.Contains(got.out, "+ topic orders\n") || fresh.brokers[0].Topic(t, "orders").TopicName != "" {
				t.Errorf("dry run: %+v", got)
			}
			apply(fresh)
			for _, b := range fresh.brokers {
				if !b.Channel(t, "orders", "audit").Paused || b.Channel(t, "orders", "billing").Paused || b.Topic(t, "letters.in").TopicName == "" {
					t.Errorf("applied: %+v", b.Topic(t, "orders"))
				}
			}
			if make == "brokerd" {
				var is httpapi.Options
				fresh.brokers[0].Get(t, "/channel/config?topic=orders&channel=billing", &is)
				if v := is.Options["max_attempts"]; v.Value != 10.0 || v.Source != "channel" {
					t.Errorf("applied: %+v", v)
				}
			}
			if got := apply(fresh); got.out != "" {
				t.Errorf("a second time: %+v", got)
			}
			again := say(t, "", nil, append([]string{"dump"}, fresh.args...)...)
			if again.out != dumped.out {
				t.Errorf("dumped again: %s\nwas %s", again.out, dumped.out)
			}
			keep("[topic.orders.channel.billing]\npaused = true\n")
			if got := apply(c); !strings.Contains(got.out, "~ pause channel orders/billing at ") || strings.Contains(got.out, "- ") || c.brokers[1].Topic(t, "letters.in").TopicName == "" {
				t.Errorf("without --prune: %+v", got)
			}
			if got := say(t, "", nil, append([]string{"apply", file, "--prune"}, c.args...)...); got.code != appkit.ExitUsage || !strings.Contains(got.errors, "--yes") {
				t.Errorf("--prune without a yes: %+v", got)
			}
			if got := apply(c, "--prune", "--yes"); !strings.Contains(got.out, "- topic letters.in\n") || !strings.Contains(got.out, "- channel orders/audit\n") {
				t.Errorf("--prune: %+v", got)
			}
			for _, b := range c.brokers {
				topic := b.Topic(t, "orders")
				if b.Topic(t, "letters.in").TopicName != "" || b.Channel(t, "orders", "audit").ChannelName != "" || !b.Channel(t, "orders", "billing").Paused {
					t.Errorf("pruned: %+v", topic)
				}
			}
			if c.brokers[0].Channel(t, "orders", "gone#ephemeral").ChannelName == "" {
				t.Error("an ephemeral channel was pruned")
			}
		})
	}
}

// TestBrokersThatDiffer: a dump says where they are not of one mind, and apply makes them so.
func TestBrokersThatDiffer(t *testing.T) {
	t.Parallel()
	c := settled(t, "brokerd")
	c.brokers[1].Act(t, "/topic/pause", "orders", "")
	c.brokers[1].Act(t, "/channel/delete", "orders", "audit")
	dumped := say(t, "", nil, append([]string{"dump", "--json"}, c.args...)...)
	if !strings.Contains(dumped.errors, "topic orders is not paused everywhere") || !strings.HasPrefix(dumped.out, "{") {
		t.Errorf("%+v", dumped)
	}
	file := filepath.Join(t.TempDir(), "topics.json")
	if err := os.WriteFile(file, []byte(dumped.out), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := say(t, "", nil, append([]string{"apply", file, "--json"}, c.args...)...); got.code != appkit.ExitOK || !strings.Contains(got.out, `"failures": []`) {
		t.Errorf("%+v", got)
	}
	if !c.brokers[0].Topic(t, "orders").Paused || !c.brokers[1].Channel(t, "orders", "audit").Paused {
		t.Error("they still differ")
	}
	direct := []string{"--nsqd-http-address=" + c.brokers[0].HTTP, "--nsqd-http-address=" + c.brokers[1].HTTP}
	c.brokers[0].Kill(t)
	if got := say(t, "", nil, append([]string{"dump"}, direct...)...); got.code != appkit.ExitFailed || got.out != "" {
		t.Errorf("half a cluster was dumped: %+v", got)
	}
	if got := say(t, "", nil, append([]string{"apply", file}, direct...)...); got.code != appkit.ExitFailed || got.out != "" {
		t.Errorf("half a cluster was changed: %+v", got)
	}
}
