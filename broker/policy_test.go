package broker_test

import (
	"encoding/json"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// shown returns what GET of a path with options tells of one option: value, source and pattern.
func (n *node) shown(path, option string) string {
	n.t.Helper()
	var all httpapi.Options
	if err := json.Unmarshal([]byte(n.get(path)), &all); err != nil {
		n.t.Fatal(err)
	}
	v, ok := all.Options[option]
	if !ok {
		return "none"
	}
	text, err := json.Marshal(v.Value)
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.TrimSpace(strings.Trim(string(text), `"`) + " " + v.Source + " " + v.Pattern + v.Off)
}

// TestOptionsAreKept: what was set for topics and channels holds across a kill and a clean stop, at level memory and in the log, and goes
// along to another level; what was refused has changed nothing.
func TestOptionsAreKept(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability, o.TopicDurability = levelDisk, []string{"mem*=memory"}
	n := startWith(t, o)
	for _, name := range []string{"logged", "memo"} {
		of := "?topic=" + name
		n.run([]request{
			{"POST", "/topic/create" + of, "", 200, ""},
			{"POST", "/channel/create" + of + "&channel=c", "", 200, ""},
			{"GET", "/channel/config" + of + "&channel=none", "", 404, "CHANNEL_NOT_FOUND"},
			{"GET", "/channel/config?topic=none&channel=c", "", 404, "TOPIC_NOT_FOUND"},
			{"POST", "/topic/config" + of, `{"max_depth":1000,"ttl":"2h","overflow":"drop-oldest"}`, 200, `"durability":`},
			{"POST", "/channel/config" + of + "&channel=c", `{"max_depth":7,"msg_timeout":"90s"}`, 200, `"value":"1m30s","source":"channel"`},
			{"POST", "/channel/config" + of + "&channel=c", `{"max_depth":8,"msg_timeout":"soon"}`, 400, `msg_timeout: must be a text as 90s, 15m, 12h or 7d, from 1ms to 1d, or 0s, not \"soon\"`},
			{"POST", "/channel/config" + of + "&channel=c", `{"max_depth":8,"durability":"disk"}`, 400, `\"durability\" is no option here; there is backoff,`},
			{"POST", "/topic/config" + of, `{"overflow":"reject"}`, 400, `channel c, max_depth: a channel's own bound needs overflow drop-oldest or dead-letter`},
			{"POST", "/topic/config" + of, `{"ttl":null,"max_in_flight":5}`, 200, ``},
		})
	}
	n.run([]request{
		{"POST", "/channel/config?topic=memo&channel=c", `{"max_attempts":5}`, 400, `max_attempts: a dead letter topic needs messages that are kept in the log`},
		{"POST", "/channel/config?topic=memo&channel=c", `{"max_attempts":5,"dead_letter":"discard"}`, 200, ``},
		{"POST", "/topic/config?topic=memo", `{"durability":"disk"}`, 200, `"durability":"disk"`},
		{"POST", "/topic/config?topic=memo", `{"durability":"memory"}`, 200, `"durability":"memory"`},
	})
	look := func(n *node) {
		t.Helper()
		for _, name := range []string{"logged", "memo"} {
			for option, want := range map[string]string{"max_depth": "1000 topic", "ttl": "0s default", "overflow": "drop-oldest topic", "max_in_flight": "5 topic"} {
				if got := n.shown("/topic/config?topic="+name, option); got != want {
					t.Errorf("%s: %s is %s, want %s", name, option, got, want)
				}
			}
			for option, want := range map[string]string{"max_depth": "7 channel", "msg_timeout": "1m30s channel", "overflow": "drop-oldest topic", "max_in_flight": "5 topic"} {
				if got := n.shown("/channel/config?channel=c&topic="+name, option); got != want {
					t.Errorf("%s: of its channel %s is %s, want %s", name, option, got, want)
				}
			}
		}
		if got := n.shown("/channel/config?channel=c&topic=memo", "max_attempts"); got != "5 channel" {
			t.Error(got)
		}
	}
	look(n)
	o.DataPath = killed(t, n)
	n = startWith(t, o)
	look(n)
	n = again(t, n, o)
	look(n)
	n.run([]request{ // back to the defaults, durability too
		{"POST", "/channel/config?topic=logged&channel=c", `{"max_depth":null,"msg_timeout":null}`, 200, ``},
		{"POST", "/topic/config?topic=logged", `{"max_depth":null,"overflow":null,"max_in_flight":null,"durability":null}`, 200, `"source":"node","default":"disk"`},
	})
	n = again(t, n, o)
	for _, option := range []string{"max_depth", "msg_timeout", "max_in_flight"} {
		if got := n.shown("/channel/config?channel=c&topic=logged", option); !strings.HasSuffix(got, " default") {
			t.Errorf("after all was put back: %s is %s", option, got)
		}
	}
}

// TestOptionsOfEphemeral: they have options as others do, as long as they are there.
func TestOptionsOfEphemeral(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	const topic, channel = "/topic/config?topic=e%23ephemeral", "/channel/config?topic=t&channel=e%23ephemeral"
	n.run([]request{
		{"POST", "/topic/create?topic=e%23ephemeral", "", 200, ""},
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=e%23ephemeral", "", 200, ""},
		{"POST", topic, `{"max_depth":5}`, 200, ``},
		{"POST", topic, `{"max_attempts":5}`, 400, `max_attempts: a dead letter topic needs messages that are kept in the log`},
		{"POST", channel, `{"max_depth":5,"overflow":"dead-letter"}`, 400, `kept in the log`},
		{"POST", channel, `{"max_depth":5,"overflow":"drop-oldest"}`, 200, ``},
	})
	if got := n.shown(topic, "max_depth"); got != "5 topic" {
		t.Error(got)
	}
	if got := n.shown(channel, "max_depth"); got != "5 channel" {
		t.Error(got)
	}
}

// TestOptionPatterns: patterns of the configuration count for what nobody has set, and a reload changes them for topics that are there.
func TestOptionPatterns(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability = broker.Durability(topic.Memory)
	o.TopicOptions = []string{"bank.* durability=fsync max_depth=10", "*.* max_depth=20 ttl=1h"}
	o.ChannelOptions = []string{"*/slow msg_timeout=10m"}
	n := startWith(t, o)
	for _, name := range []string{"bank.a", "shop.a"} {
		n.run([]request{{"POST", "/topic/create?topic=" + name, "", 200, ""}, {"POST", "/channel/create?channel=slow&topic=" + name, "", 200, ""}})
	}
	want := func(path, option, want string) {
		t.Helper()
		if got := n.shown(path, option); got != want {
			t.Errorf("%s: %s is %s, want %s", path, option, got, want)
		}
	}
	want("/topic/config?topic=bank.a", "durability", "fsync node")
	want("/topic/config?topic=shop.a", "durability", "memory node")
	want("/topic/config?topic=bank.a", "max_depth", "10 topic-pattern bank.*")
	want("/topic/config?topic=bank.a", "ttl", "1h topic-pattern *.*")
	want("/channel/config?channel=slow&topic=shop.a", "max_depth", "20 topic-pattern *.*")
	want("/channel/config?channel=slow&topic=shop.a", "msg_timeout", "10m channel-pattern */slow")
	n.run([]request{{"POST", "/channel/config?channel=slow&topic=shop.a", `{"msg_timeout":"5m"}`, 200, ``}})
	fresh := o
	fresh.TopicOptions, fresh.ChannelOptions = []string{"shop.* max_depth=30"}, nil
	if err := n.Reload(fresh, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	want("/topic/config?topic=bank.a", "max_depth", "0 default")
	want("/topic/config?topic=bank.a", "durability", "fsync node") // it stays as it was made
	want("/topic/config?topic=shop.a", "max_depth", "30 topic-pattern shop.*")
	want("/channel/config?channel=slow&topic=shop.a", "msg_timeout", "5m channel")
	want("/channel/config?channel=slow&topic=bank.a", "msg_timeout", "0s default")
	fresh.TopicOptions = []string{"shop.* max_depth=-1"}
	if err := n.Reload(fresh, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "--topic-options max_depth: must be a whole number from 0") {
		t.Errorf("a bad pattern: %v", err)
	}
	want("/topic/config?topic=shop.a", "max_depth", "30 topic-pattern shop.*")
}
