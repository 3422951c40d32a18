package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// answer is what a daemon answered.
type answer struct {
	status int
	body   string
}

// ask sends a daemon a request.
func ask(t *testing.T, d *cmdtest.Process, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: cmdtest.Patience}
	resp, text := cmdtest.Do(t, &client, req)
	return answer{resp.StatusCode, text}
}

// TestAdminsAnswerAlike compares every reading route and the acts of nsqadmin with admind's, over the same brokerd and nsqd, found
// through a lookup and named one by one.
func TestAdminsAnswerAlike(t *testing.T) {
	cmdtest.Find(t, "nsqadmin")
	lookup := cmdtest.NewLookup(t, "lookupd")
	ours := newBroker(t, "brokerd", "brokerd", t.TempDir(), "--lookupd-tcp-address="+lookup.TCP, "--durability=memory")
	theirs := newBroker(t, "nsqd", "nsqd", t.TempDir(), "--lookupd-tcp-address="+lookup.TCP)
	for _, d := range []*cmdtest.Process{lookup, ours, theirs} {
		d.Start(t)
	}
	for _, d := range []*cmdtest.Process{ours, theirs} {
		d.Create(t, topic, channel)
		d.Act(t, "/channel/create", topic, "archive#ephemeral")
		for i := range 5 {
			if got := ask(t, d, "POST", "/pub?topic="+topic, fmt.Sprint(i)); got.status != 200 {
				t.Fatal(got)
			}
		}
	}
	lookup.Act(t, "/topic/create", "idle", "")
	lookup.Act(t, "/channel/create", "idle", "nobody")
	consumer := consume(t, topic, channel, newInbox())
	if err := consumer.ConnectToNSQDs([]string{ours.TCP, theirs.TCP}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*cmdtest.Process{ours, theirs} {
		cmdtest.Eventually(t, d.Label+"'s messages are consumed", 20*time.Second, func() bool {
			ch := d.Channel(t, topic, channel)
			return ch.Depth+int64(ch.InFlightCount) == 0 && ch.ClientCount == 1 && ch.MessageCount == 5
		})
	}
	cmdtest.Eventually(t, "both brokers are registered", 20*time.Second, func() bool {
		return strings.Count(ask(t, lookup, "GET", "/lookup?topic="+topic, "").body, `"tcp_port"`) == 2
	})
	for _, flags := range [][]string{{"--lookupd-http-address=" + lookup.HTTP}, {"--nsqd-http-address=" + ours.HTTP, "--nsqd-http-address=" + theirs.HTTP}} {
		theirAdmin, ourAdmin := cmdtest.Admin(t, "nsqadmin", flags...), cmdtest.Admin(t, "admind", flags...)
		for _, path := range []string{
			"/ping", "/api/topics", "/api/topics?inactive=true", "/api/topics/" + topic, "/api/topics/" + topic + "/" + channel,
			"/api/topics/" + topic + "/archive%23ephemeral", "/api/nodes", "/api/nodes/" + ours.HTTP, "/api/nodes/" + theirs.HTTP, "/api/nodes/none:1",
			"/api/counter", "/api/graphite", "/api/graphite?metric=rate", "/api/topics?%zz", "/api/none",
			"/config/log_level", "/config/nsqlookupd_http_addresses", "/config/nsqd_http_addresses", "/config/statsd_interval", "/config/admin_users",
			"/config/base_path", "/config/acl_http_header", "/config/proxy_graphite", "/config/none",
		} {
			theirsSaid, oursSaid := ask(t, theirAdmin, "GET", path, ""), answer{}
			for deadline := time.Now().Add(cmdtest.Patience); time.Now().Before(deadline); <-time.After(50 * time.Millisecond) {
				if oursSaid = ask(t, ourAdmin, "GET", path, ""); alike(t, theirsSaid, oursSaid) {
					break
				}
			}
			if !alike(t, theirsSaid, oursSaid) {
				t.Errorf("GET %s %v:\nnsqadmin says %d %s\nadmind says   %d %s", path, flags, theirsSaid.status, canonical(t, theirsSaid.body), oursSaid.status, canonical(t, oursSaid.body))
			}
		}
		for _, act := range []struct{ method, path, body string }{
			{"POST", "/api/topics", `{"topic":"new","channel":"one"}`}, {"POST", "/api/topics", `{"topic":"not$valid"}`}, {"POST", "/api/topics", `x`},
			{"POST", "/api/topics/" + topic, `{"action":"pause"}`}, {"POST", "/api/topics/" + topic, `{"action":"unpause"}`},
			{"POST", "/api/topics/" + topic, `{"action":"none"}`}, {"POST", "/api/topics/" + topic + "/" + channel, `{"action":"empty"}`},
			{"POST", "/api/topics/" + topic + "/" + channel, `{"action":"pause"}`}, {"POST", "/api/topics/" + topic + "/" + channel, `{"action":"unpause"}`},
			{"DELETE", "/api/nodes/" + ours.HTTP, ``}, {"DELETE", "/api/nodes/" + ours.HTTP, `{"topic":"not valid"}`},
		} {
			if act.body == `{"topic":"new","channel":"one"}` && strings.HasPrefix(flags[0], "--nsqd") {
				continue // nsqadmin cannot
			}
			theirsSaid, oursSaid := ask(t, theirAdmin, act.method, act.path, act.body), ask(t, ourAdmin, act.method, act.path, act.body)
			if !alike(t, theirsSaid, oursSaid) {
				t.Errorf("%s %s %s: nsqadmin says %v, admind %v", act.method, act.path, act.body, theirsSaid, oursSaid)
			}
		}
		ourAdmin.Stop(t)
		theirAdmin.Stop(t)
	}
}

// alike reports whether two answers say the same, but for what nsqadmin gets wrong or leaves to chance, and for what admind adds.
func alike(t *testing.T, theirs, ours answer) bool {
	t.Helper()
	if theirs.status != ours.status {
		return false
	}
	if !strings.HasPrefix(theirs.body, "{") {
		return theirs.body == ours.body
	}
	return canonical(t, theirs.body) == canonical(t, ours.body)
}

// canonical is a JSON object without what may differ: lists of nodes and channels are in no order and null when empty, a sum's
// entries of one node are wrong, and a connection's age depends on when it was asked for.
func canonical(t *testing.T, body string) string {
	t.Helper()
	var v map[string]any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body // a list or a text
	}
	delete(v, "results")
	if nodes, ok := v["nodes"].([]any); ok && v["node"] == "*" {
		for _, n := range nodes { // of a topic: the first one's channels are those of the sum, in nsqadmin
			if entry, ok := n.(map[string]any); ok {
				delete(entry, "channels")
			}
		}
	}
	if channels, ok := v["channels"].([]any); ok && v["node"] == "*" {
		for _, c := range channels { // in a topic's sum: its nodes lack the first one, and its latency is put together otherwise
			if entry, ok := c.(map[string]any); ok {
				delete(entry, "nodes")
				delete(entry, "hostname")
				delete(entry, "e2e_processing_latency")
			}
		}
	}
	text, err := json.Marshal(settle(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// settle sorts lists of objects and takes out what depends on the moment.
func settle(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range []string{"connected", "delivery_msg_count", "zone_local_msg_count", "region_local_msg_count", "global_msg_count"} {
			delete(v, key) // the counts by zone and region came to nsqadmin after 1.3.0
		}
		for key, inner := range v {
			v[key] = settle(inner)
		}
		return v
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i := range v {
			v[i] = settle(v[i])
		}
		slices.SortFunc(v, func(a, b any) int {
			x, _ := json.Marshal(a) // it was JSON a moment ago
			y, _ := json.Marshal(b)
			return bytes.Compare(x, y)
		})
		return v
	}
	return v
}

// TestAdminWhileANodeDies: the page goes on with the last figures of a node that was killed and says so, an act on both nodes
// names the one that it did not reach, and all is well when it is back.
func TestAdminWhileANodeDies(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.NewLookup(t, "lookupd")
	lookup.Start(t)
	var brokers []*cmdtest.Process
	for i := range 2 {
		b := newBroker(t, "brokerd", fmt.Sprintf("brokerd-%d", i), t.TempDir(), "--lookupd-tcp-address="+lookup.TCP, fmt.Sprintf("--node-id=%d", i))
		b.Start(t)
		b.Create(t, topic, channel)
		if got := ask(t, b, "POST", "/pub?topic="+topic, "message"); got.status != 200 {
			t.Fatal(got)
		}
		brokers = append(brokers, b)
	}
	admin := cmdtest.Admin(t, "admind", "--lookupd-http-address="+lookup.HTTP, "--refresh-interval=200ms")
	overview := func(want string, stale, depth int) {
		t.Helper()
		cmdtest.Eventually(t, want, 20*time.Second, func() bool {
			var o struct {
				Totals struct {
					Depth      int `json:"depth"`
					StaleNodes int `json:"stale_nodes"`
				} `json:"totals"`
				Warning string `json:"warning"`
			}
			admin.Get(t, "/api/view/overview", &o)
			return o.Totals.StaleNodes == stale && o.Totals.Depth == depth && (stale == 0) == (o.Warning == "")
		})
	}
	overview("both brokers are known", 0, 2)
	brokers[1].Kill(t)
	overview("one is missed, its message is shown", 1, 2)
	path := "/api/topics/" + url.PathEscape(topic) + "/" + channel
	if got := ask(t, admin, "POST", path, `{"action":"pause"}`); got.status != 200 || !strings.Contains(got.body, `"message":"WARNING: `+brokers[1].HTTP) {
		t.Errorf("pausing with one node down: %v", got)
	}
	if !brokers[0].Channel(t, topic, channel).Paused {
		t.Error("the other one was not paused")
	}
	brokers[1].Start(t)
	overview("it is back, with its message", 0, 2)
	admin.Stop(t)
}
