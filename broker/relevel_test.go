package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/broker"
	"brokerd/broker/topic"
	"brokerd/cmd/cmdtest"
)

// TestLevelMoves: a topic that holds nothing moves between memory and the log with its channels and pauses, one that holds
// something does not, and both is kept across kills and other flags of the node.
func TestLevelMoves(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability = levelDisk
	n := startWith(t, o)
	const config = "/topic/config?topic="
	n.run([]request{
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=a", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=b", "", 200, ""},
		{"POST", "/channel/pause?topic=t&channel=b", "", 200, ""},
		{"POST", "/pub?topic=t", "1", 200, "OK"},
		{"POST", config + "t", `{"durability":"memory"}`, 400, `only while it holds no message: it holds 2; consume or empty them first`},
		{"GET", config + "t", "", 200, `disk`},
		{"POST", "/channel/empty?topic=t&channel=a", "", 200, ""},
		{"POST", "/channel/empty?topic=t&channel=b", "", 200, ""},
		{"POST", config + "t", `{"durability":"memory"}`, 200, `{"durability":"memory",`},
		{"POST", "/pub?topic=t", "2", 200, "OK"},
		{"POST", "/pub?topic=t&durability=disk", "3", 400, "level memory"},
		{"POST", config + "t", `{"durability":"fsync"}`, 400, `it holds 2`},
	})
	o.DataPath = killed(t, n)
	n = startWith(t, o)
	n.run([]request{
		{"GET", config + "t", "", 200, `memory`}, // chosen, although the node's level is disk
		{"GET", "/stats?format=json&topic=t&channel=b", "", 200, `"paused":true`},
		{"GET", "/stats?format=json&topic=t&channel=a", "", 200, `"paused":false`},
		{"POST", config + "t", `{"durability":"fsync"}`, 200, `{"durability":"fsync",`},
		{"POST", "/pub?topic=t", "4", 200, "OK"},
	})
	o.DataPath = killed(t, n)
	n = startWith(t, o)
	n.run([]request{
		{"GET", config + "t", "", 200, `fsync`},
		{"GET", "/stats?format=json&topic=t&channel=b", "", 200, `"paused":true`},
		{"GET", "/stats?format=json&topic=t&channel=a", "", 200, `"depth":1`},
	})
}

// TestLevelNeedsALog: a node that keeps no log says how to get one; a rule for some topics is enough.
func TestLevelNeedsALog(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.Durability = broker.Durability(topic.Memory) })
	n.run([]request{
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/topic/config?topic=t", `{"durability":"disk"}`, 400, `--durability=disk`},
	})
	n = start(t, func(o *broker.Options) {
		o.Durability, o.TopicDurability = broker.Durability(topic.Memory), []string{"bank*=fsync"}
	})
	n.run([]request{
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/topic/create?topic=bank", "", 200, ""},
		{"GET", "/topic/config?topic=bank", "", 200, `fsync`},
		{"GET", "/topic/config?topic=t", "", 200, `memory`},
		{"POST", "/topic/config?topic=t", `{"durability":"disk"}`, 200, `disk`},
	})
}

// TestLevelMovesUnderClients: neither a producer nor a consumer needs to know of a move; the consumer is closed and comes back.
func TestLevelMovesUnderClients(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	var mu sync.Mutex
	got := map[string]bool{}
	cfg := cmdtest.ClientConfig()
	cfg.LookupdPollInterval = 10 * time.Millisecond // of reconnecting
	cfg.LookupdPollJitter = 0
	n.consumer("t", "c", cfg, 1, func(m *nsq.Message) error {
		mu.Lock()
		defer mu.Unlock()
		got[string(m.Body)] = true
		return nil
	})
	p := n.producer(cmdtest.ClientConfig())
	for i, level := range []string{"memory", "disk", "memory", "fsync"} {
		for k := range 200 {
			if err := p.Publish("t", fmt.Appendf(nil, "%d %d", i, k)); err != nil {
				t.Fatal(err)
			}
			if k != 100 {
				continue
			}
			for { // between two publishes there is a moment when all is finished
				status, answer := n.ask("POST", "/topic/config?topic=t", `{"durability":"`+level+`"}`)
				if status == 200 {
					break
				}
				if !strings.Contains(answer, "it holds") {
					t.Fatal(answer)
				}
			}
		}
	}
	eventually(t, "all messages arrive", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == 800
	})
}

// TestTheLogKnowsBetter: nsqd.dat is a little older than the log when a broker is killed. What it says of a topic that is in
// the log does not count, nor does it bring one back that was deleted.
func TestTheLogKnowsBetter(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability = levelDisk
	n := startWith(t, o)
	for _, name := range []string{"kept", "gone"} {
		n.post("/topic/create?topic="+name, "")
		n.post("/channel/create?topic="+name+"&channel=a", "")
		n.post("/channel/create?topic="+name+"&channel=b", "")
	}
	n.post("/topic/pause?topic=kept", "")
	list, err := os.ReadFile(filepath.Join(n.dir, "nsqd.dat"))
	if err != nil {
		t.Fatal(err)
	}
	n.post("/topic/unpause?topic=kept", "")
	n.post("/channel/pause?topic=kept&channel=a", "")
	n.post("/channel/delete?topic=kept&channel=b", "")
	n.post("/topic/delete?topic=gone", "")
	o.DataPath = killed(t, n)
	if err := os.WriteFile(filepath.Join(o.DataPath, "nsqd.dat"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	n = startWith(t, o)
	_, stats := n.ask("GET", "/stats?format=json", "")
	for _, want := range []string{`"topic_name":"kept"`, `"channel_name":"a"`, `"paused":true`} {
		if strings.Count(stats, want) != 1 {
			t.Errorf("%s is not there once: %s", want, stats)
		}
	}
	for _, no := range []string{`"gone"`, `"channel_name":"b"`} {
		if strings.Contains(stats, no) {
			t.Errorf("%s came back: %s", no, stats)
		}
	}
	o.DataPath = t.TempDir() // to a new folder the list can be taken: it is how topics are set up
	if err := os.WriteFile(filepath.Join(o.DataPath, "nsqd.dat"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	n = startWith(t, o)
	if _, stats := n.ask("GET", "/stats?format=json", ""); strings.Count(stats, `"topic_name"`) != 2 {
		t.Errorf("a list of topics was not taken: %s", stats)
	}
}
