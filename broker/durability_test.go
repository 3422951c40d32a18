package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nsqio/go-nsq"

	"brokerd/broker"
	"brokerd/broker/topic"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

const (
	levelDisk  = broker.Durability(topic.Disk)
	levelFsync = broker.Durability(topic.Fsync)
)

// request is one to the HTTP API and what it is answered with; a part of the answer is enough.
type request struct {
	method, path, body string
	status             int
	answer             string
}

func (n *node) run(requests []request) {
	n.t.Helper()
	for _, r := range requests {
		if status, answer := n.ask(r.method, r.path, r.body); status != r.status || !strings.Contains(answer, r.answer) {
			n.t.Errorf("%s %s %s: got %d %s, wanted %d %s", r.method, r.path, r.body, status, answer, r.status, r.answer)
		}
	}
}

// killed returns a folder as a kill would leave the broker's now.
func killed(t testing.TB, n *node) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := copyFolder(dir, n.dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTopicConfig: a topic's level is shown and set over HTTP, what cannot be is refused with a text that says why, and what
// was set holds across a kill and other flags.
func TestTopicConfig(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability, o.TopicDurability = levelDisk, []string{"mem*=memory", "bank*=fsync"}
	n := startWith(t, o)
	for _, name := range []string{"t", "u", "memo", "bank", "e%23ephemeral"} {
		n.post("/topic/create?topic="+name, "")
	}
	const config = "/topic/config?topic="
	n.run([]request{
		{"GET", config + "t", "", 200, `{"durability":"disk",`},
		{"GET", config + "memo", "", 200, `{"durability":"memory",`},
		{"GET", config + "bank", "", 200, `{"durability":"fsync",`},
		{"GET", config + "e%23ephemeral", "", 200, `{"durability":"memory",`},
		{"GET", config + "none", "", 404, `TOPIC_NOT_FOUND`},
		{"POST", config + "none", `{"durability":"disk"}`, 404, `TOPIC_NOT_FOUND`},
		{"GET", "/topic/config", "", 400, `MISSING_ARG_TOPIC`},
		{"POST", config + "t", `{"durability":"often"}`, 400, `durability: must be memory, disk or fsync, not \"often\"`},
		{"POST", config + "t", `{"durability":1}`, 400, `durability: must be memory, disk or fsync, not 1`},
		{"POST", config + "t", `{"durability":"fsync","speed":"high"}`, 400, `\"speed\" is no option here; there is acks,`},
		{"POST", config + "t", `fsync`, 400, `the body must be a JSON object`},
		{"POST", config + "t", ``, 400, `the body must be a JSON object`},
		{"POST", config + "t", `{} {}`, 400, `nothing behind it`},
		{"POST", config + "e%23ephemeral", `{"durability":"disk"}`, 400, `ephemeral topic is always at level memory`},
		{"GET", config + "t", "", 200, `{"durability":"disk",`},
		{"POST", config + "t", `{}`, 200, `{"durability":"disk",`},
		{"POST", config + "memo", `{"durability":"memory"}`, 200, `{"durability":"memory",`},
		{"POST", config + "t", `{"durability":"fsync"}`, 200, `{"durability":"fsync",`},
		{"POST", config + "bank", `{"durability":"disk"}`, 200, `{"durability":"disk",`},
	})
	o.DataPath = killed(t, n)
	after := startWith(t, o)
	kept := []request{
		{"GET", config + "t", "", 200, `fsync`},
		{"GET", config + "u", "", 200, `disk`},
		{"GET", config + "bank", "", 200, `disk`},
	}
	after.run(kept)
	o.Durability = levelFsync // the topics of which nobody has said anything follow the node, after a checkpoint too
	kept[1].answer = "fsync"
	after = again(t, after, o)
	after.run(kept)
}

// TestPublishAsksForMore: a publish over HTTP may ask for a level of its own.
func TestPublishAsksForMore(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.TopicDurability = []string{"mem*=memory", "*=disk"} })
	n.run([]request{
		{"POST", "/pub?topic=t&durability=fsync", "1", 200, "OK"},
		{"POST", "/pub?topic=t&durability=disk", "2", 200, "OK"},
		{"POST", "/pub?topic=t&durability=memory", "3", 200, "OK"},
		{"POST", "/pub?topic=t&durability=fsync&defer=1", "4", 200, "OK"},
		{"POST", "/mpub?topic=t&durability=fsync", "5\n6", 200, "OK"},
		{"POST", "/mpub?topic=t&durability=fsync", "\n", 200, "OK"},
		{"POST", "/pub?topic=t&durability=", "x", 400, "INVALID_DURABILITY"},
		{"POST", "/pub?topic=t&durability=FSYNC", "x", 400, "INVALID_DURABILITY"},
		{"POST", "/mpub?topic=t&durability=twice", "x", 400, "INVALID_DURABILITY"},
		{"POST", "/pub?topic=memo&durability=memory", "x", 200, "OK"},
		{"POST", "/pub?topic=memo&durability=fsync", "x", 400, "durability fsync is not to be had: the topic is at level memory"},
		{"POST", "/mpub?topic=memo&durability=disk", "x", 400, "durability disk is not to be had"},
	})
	c := n.subscribe("t", "c", 10)
	got := map[string]bool{}
	for range 6 {
		m := c.Next().Message()
		got[string(m.Body)] = true
	}
	if len(got) != 6 || got["x"] {
		t.Errorf("got %v", got)
	}
}

// TestNoSpace: without space on the disk each publish is refused with an error of its own, on a connection that stays, and
// the broker says that it is unwell; level memory does not mind.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) {
		o.MinFreeSpace = broker.MinFree{Percent: 100}
		o.TopicDurability = []string{"mem*=memory"}
	})
	const why = "disk space is below --min-free-space"
	p := n.dial()
	p.Send(prototest.Pub("t", "1") + prototest.Pub("t", "2") + prototest.Mpub("t", "3", "4") + prototest.Pub("memo", "5") +
		prototest.Mpub("t", "6") + "DPUB t 5\n" + prototest.Body("7") + prototest.Pub("t", "8"))
	p.ExpectError("E_PUB_FAILED PUB failed " + why)
	p.ExpectError("E_PUB_FAILED PUB failed " + why)
	p.ExpectError("E_MPUB_FAILED MPUB failed " + why)
	p.Expect("OK")
	p.ExpectError("E_MPUB_FAILED MPUB failed " + why)
	p.ExpectError("E_DPUB_FAILED DPUB failed " + why)
	p.ExpectError("E_PUB_FAILED PUB failed " + why)
	n.run([]request{
		{"POST", "/pub?topic=t", "m", 503, `{"message":"publish failed: ` + why + `"}`},
		{"POST", "/mpub?topic=t", "m", 503, why},
		{"POST", "/pub?topic=memo", "m", 200, "OK"},
		{"GET", "/ping", "", 500, "NOK - " + why},
	})
	if d := n.topic("t").Depth; d != 0 {
		t.Errorf("%d refused messages are there", d)
	}
}

// TestStockProducerGoesOn: go-nsq's producer takes a refusal by the disk as a failed publish, and its next one, on the same
// connection, succeeds.
func TestStockProducerGoesOn(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability, o.MemQueueSize = levelMemory, 1
	n := startWith(t, o)
	n.post("/topic/create?topic=t", "")
	n.post("/channel/create?topic=t&channel=c", "")
	p := n.producer(cmdtest.ClientConfig())
	if err := p.Publish("t", []byte("in memory")); err != nil {
		t.Fatal(err)
	}
	before := n.stats().Producers
	free := occupied(t, o.DataPath, "t:c")
	for what, err := range map[string]error{
		"PUB": p.Publish("t", []byte("refused")), "MPUB": p.MultiPublish("t", [][]byte{[]byte("refused"), []byte("too")}),
	} {
		var refused nsq.ErrProtocol
		if !errors.As(err, &refused) || !strings.HasPrefix(refused.Reason, fmt.Sprintf("E_%s_FAILED", what)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	free()
	if err := p.Publish("t", []byte("again")); err != nil {
		t.Error(err)
	}
	after := n.stats().Producers
	if len(before) != 1 || len(after) != 1 || before[0].RemoteAddress != after[0].RemoteAddress {
		t.Errorf("the producer was %+v and is %+v", before, after)
	}
	n.run([]request{{http.MethodGet, "/ping", "", 200, "OK"}})
}

// TestStorage: what a broker tells of its disk is what the system says of it, and the least that its options ask for.
func TestStorage(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability, o.MinFreeSpace = levelDisk, broker.MinFree{Bytes: 4096}
	n := startWith(t, o)
	var got httpapi.Storage
	if err := json.Unmarshal([]byte(n.get("/storage")), &got); err != nil {
		t.Fatal(err)
	}
	if got.DataPath != o.DataPath || got.Durability != "disk" || got.MinFreeBytes != 4096 || got.FreeBytes == 0 || got.TotalBytes < got.FreeBytes {
		t.Errorf("/storage says %+v", got)
	}
}
