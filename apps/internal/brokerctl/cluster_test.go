package brokerctl

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestCluster: three brokers found a cluster, which is shown and changed by any of them; what cannot be is refused with the reason.
func TestCluster(t *testing.T) {
	t.Parallel()
	var peers []string
	for range 3 {
		peers = append(peers, cmdtest.FreeAddress(t))
	}
	var brokers []*cmdtest.Process
	for _, p := range peers {
		brokers = append(brokers, cmdtest.Broker(t, "brokerd", nil, "--cluster-name=prod", "--cluster-listen="+p, "--cluster-peers="+strings.Join(peers, ",")))
	}
	at := "--nsqd-http-address=" + brokers[0].HTTP
	shown := func() string { return ctl(t, 0, "cluster", "show", at) }
	cmdtest.Eventually(t, "the cluster is founded, and its leader known", time.Minute, func() bool {
		text := shown()
		return strings.Contains(text, "which is member there") && strings.Contains(text, "leads") && strings.Count(text, "votes") == 2
	})
	// decided is ctl until the answer is not that nobody led, or another one did meanwhile, as may be on a busy machine, or that a topic is still being
	// deleted.
	decided := func(code int, args ...string) (said string) {
		t.Helper()
		cmdtest.Eventually(t, strings.Join(args, " ")+" is answered", time.Minute, func() bool {
			p := cmdtest.Tool(t, "brokerctl", args...)
			got := p.Wait(t, time.Minute)
			said = p.Output(t) + p.LastWords()
			for _, passing := range []string{"NOT_DONE", "NOT_LEADER", "UNKNOWN", "is being deleted"} {
				if strings.Contains(said, passing) {
					return false
				}
			}
			if got != code {
				t.Fatalf("brokerctl %q: exit code %d\n%s", args, got, said)
			}
			return true
		})
		return said
	}
	decided(1, "cluster", "add", peers[1], at)
	if got := decided(1, "cluster", "remove", peers[1], "--yes", at); !strings.Contains(got, "drain it first") {
		t.Errorf("remove: %s", got)
	}
	ctl(t, 2, "cluster", "remove", peers[1], at) // nobody can be asked
	for _, act := range [][]string{{"add", "nobody"}, {"replace", "nobody", peers[1], "--yes"}, {"replace", peers[1], "nobody", "--yes"}, {"drain", "nobody"},
		{"remove", "nobody", "--yes"}, {"transfer", "nobody"}} {
		if got := decided(3, append(append([]string{"cluster"}, act...), at)...); !strings.Contains(got, "nobody knows that node") {
			t.Errorf("%q: %s", act, got)
		}
	}
	if got := decided(0, "cluster", "drain", peers[1], at); !strings.Contains(got, "done") {
		t.Errorf("drain: %s", got)
	}
	cmdtest.Eventually(t, "it drains", time.Minute, func() bool { return strings.Contains(shown(), "draining") })
	decided(0, "cluster", "drain", peers[1], "--undo", at)
	if got := ctl(t, 0, "cluster", "transfer", peers[2], "--dry-run", at); !strings.Contains(got, "/cluster/transfer") {
		t.Errorf("dry run: %s", got)
	}
	if got := shown(); !strings.Contains(got, "\nopen: whoever can start a program on that machine") {
		t.Errorf("without a secret: %s", got)
	}
	if got := ctl(t, 0, "cluster", "show", "--json", at); !strings.Contains(got, `"preview": true`) {
		t.Errorf("as JSON: %s", got)
	}
	replicatedTopic(t, brokers, decided)
	alone := cmdtest.Broker(t, "brokerd", nil)
	ctl(t, 1, "cluster", "show", "--nsqd-http-address="+alone.HTTP)
	ctl(t, 1, "topic", "create", "payments", "--replicas=3", "--nsqd-http-address="+alone.HTTP)
}

// TestClusterShowAsksAllAtOnce: of brokers that answer only when all have been asked the one with the highest term of a group says who leads it, and one
// that fails is told of. One that is in no cluster is no failure. Those that wait to be in one are named, and speak for none.
func TestClusterShowAsksAllAtOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	all := make(chan struct{}) // is closed when all have been asked
	view := func(folder string, term, lag uint64) []byte {
		b, err := json.Marshal(httpapi.Cluster{Name: "prod", ID: "c", State: "member", Folder: folder, Address: folder + ":1",
			Nodes:  []httpapi.ClusterNode{{Folder: "old", Address: "old:1"}, {Folder: "new", Address: "new:1"}, {Folder: "ill", Address: "ill:1"}},
			Groups: []httpapi.ClusterGroup{{Number: 7, Leader: folder, Term: term, Lag: &lag, Topics: []httpapi.ClusterTopic{{Name: "orders"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	waits := func(address, why string) []byte {
		b, err := json.Marshal(httpapi.Cluster{Name: "prod", State: "candidate", Why: why, Folder: address, Address: address})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	args := []string{"cluster", "show"}
	brokers := []struct {
		code int
		body []byte
	}{{404, []byte(`{"message":"NO_CLUSTER"}`)}, {200, waits("young:1", "")}, {200, view("old", 4, 0)}, {500, []byte(`{"message":"it is ill"}`)},
		{200, view("new", 5, 33)}, {200, waits("last:1", "nobody has let it in")}}
	for _, b := range brokers {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == int32(len(brokers)) {
				close(all)
			}
			select {
			case <-all:
			case <-r.Context().Done():
			}
			w.WriteHeader(b.code)
			_, _ = w.Write(b.body) // the tool's exit code tells
		}))
		t.Cleanup(s.Close)
		args = append(args, "--nsqd-http-address="+s.Listener.Addr().String())
	}
	got := ctl(t, 1, args...)
	_, groups, _ := strings.Cut(got, "GROUP")
	if row := strings.Fields(groups); len(row) < 7 || strings.Join(row[3:7], " ") != "7 1 new:1 33" {
		t.Errorf("the leader of the highest term is not shown:\n%s", got)
	}
	if !strings.Contains(got, "without 1 that failed: ") || !strings.Contains(got, "it is ill") {
		t.Errorf("who failed is not told:\n%s", got)
	}
	for _, text := range []string{"cluster prod c, as ", "2 of 3 brokers have answered", "young:1 is in no cluster yet, and wants to be in prod: candidate\n",
		"last:1 is in no cluster yet, and wants to be in prod: candidate, nobody has let it in\n"} {
		if !strings.Contains(got, text) {
			t.Errorf("%q is missing:\n%s", text, got)
		}
	}
}

// replicatedTopic goes through the life of a replicated topic: three brokers are told of, and one of them is asked, so that no message is shown, and no act
// done, three times.
func replicatedTopic(t *testing.T, brokers []*cmdtest.Process, decided func(code int, args ...string) string) {
	var all []string
	for _, b := range brokers {
		all = append(all, "--nsqd-http-address="+b.HTTP)
	}
	at := func(args ...string) []string { return append(args, all...) }
	known := func() {
		t.Helper()
		cmdtest.Eventually(t, "all know the topic, and one leads it", time.Minute, func() bool {
			roles := ""
			for _, b := range brokers {
				roles += b.Topic(t, "orders").Role + " "
			}
			return strings.Count(roles, "leader") == 1 && strings.Count(roles, "follower") == 2
		})
	}
	ctl(t, 2, "topic", "create", "orders", "--replicas=2", all[0])
	decided(0, "topic", "create", "orders", "--replicas=3", "--serve=leader", all[1])
	known()
	cmdtest.Eventually(t, "who leads the topic's group is shown, and that nobody lags", time.Minute, func() bool {
		_, groups, _ := strings.Cut(ctl(t, 0, at("cluster", "show")...), "GROUP")
		row := strings.Fields(groups) // TOPICS LEADER LAG, and below them the number, 1, the address and 0
		return len(row) == 7 && row[4] == "1" && strings.Contains(row[5], ":") && row[6] == "0"
	})
	if got := ctl(t, 0, "cluster", "show", all[0]); !strings.Contains(got, "1 of 3 brokers have answered") {
		t.Errorf("one broker was asked:\n%s", got)
	}
	decided(0, at("channel", "create", "orders", "billing")...)
	decided(0, "pub", "orders", "two pens", "--nsqd-tcp-address="+brokers[2].TCP)
	var seen []string
	cmdtest.Eventually(t, "the message is shown", time.Minute, func() bool {
		seen = nil
		for _, row := range strings.Split(decided(0, at("peek", "orders/billing", "--consistent", "--json")...), "\n") {
			if _, id, ok := strings.Cut(row, `"id": "`); ok {
				seen = append(seen, id)
			}
		}
		return len(seen) > 0
	})
	if slices.Sort(seen); len(slices.Compact(slices.Clone(seen))) != len(seen) {
		t.Errorf("shown more than once: %q", seen)
	}
	const unled = "topic orders is led by none of the brokers that were asked"
	var dumped string
	cmdtest.Eventually(t, "what there is is dumped", time.Minute, func() bool {
		dumped = decided(0, at("dump")...)
		return !strings.Contains(dumped, unled)
	})
	if strings.Count(dumped, "replicas = 3") != 1 || strings.Count(dumped, `serve = "leader"`) != 1 || !strings.Contains(dumped, "[topic.orders.channel.billing]") {
		t.Errorf("dumped:\n%s", dumped)
	}
	cmdtest.Eventually(t, "one that does not lead says that it may not know the newest", time.Minute, func() bool {
		return slices.ContainsFunc(all, func(one string) bool {
			return strings.Contains(decided(0, "dump", one), unled)
		})
	})
	file := filepath.Join(t.TempDir(), "topics.toml")
	if err := os.WriteFile(file, []byte(dumped), 0o600); err != nil {
		t.Fatal(err)
	}
	var applied string
	cmdtest.Eventually(t, "it is applied to where it came from", time.Minute, func() bool {
		applied = strings.TrimSpace(decided(0, at("apply", file)...))
		return !strings.Contains(applied, unled)
	})
	if applied != "nothing differs" {
		t.Errorf("applied to where it came from: %s", applied)
	}
	if got := decided(0, at("topic", "delete", "orders", "--yes")...); strings.Count(got, "ok") != 1 {
		t.Errorf("deleted: %s", got)
	}
	cmdtest.Eventually(t, "it is gone", time.Minute, func() bool { return decided(0, at("topic", "list")...) == "" })
	cmdtest.Eventually(t, "it is made as it was", time.Minute, func() bool {
		decided(0, at("apply", file)...)
		return decided(0, at("dump")...) == dumped
	})
	known()
	for text, want := range map[string]string{
		"replicas = 1":                  "is to have replicas = 1, and has 3",
		"replicas = 3\nserve = \"all\"": "is to have serve = all, and has leader",
	} {
		if err := os.WriteFile(file, []byte("[topic.orders]\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := decided(1, at("apply", file)...); !strings.Contains(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}
