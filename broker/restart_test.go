package broker_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// again stops the broker and starts one on the same folder.
func again(t *testing.T, n *node, o broker.Options) *node {
	t.Helper()
	n.stop()
	return startWith(t, o)
}

// take receives and finishes count messages and returns their bodies.
func take(c *prototest.Client, count int) []string {
	var bodies []string
	for range count {
		m := c.Next().Message()
		bodies = append(bodies, string(m.Body))
		c.Send("FIN " + m.ID + "\n")
	}
	return bodies
}

// levelMemory is the level at which NSQ's own tests hold.
const levelMemory = broker.Durability(0)

// TestRestartWithOverflow is NSQ's own startup test: of 300 messages, most of them in files of 10 KiB, half is consumed, and
// the other half is there after a restart, whole and once.
func TestRestartWithOverflow(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability = levelMemory
	o.MemQueueSize, o.MaxBytesPerFile = 100, 10240
	n := startWith(t, o)
	n.post("/topic/create?topic=t", "")
	n.post("/channel/create?topic=t&channel=ch", "")
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("%04d%s", i, strings.Repeat("x", 252)))
	}
	producer := n.dial()
	for _, body := range want {
		producer.Send(prototest.Pub("t", body))
		producer.Expect("OK")
	}
	if c := n.channel("t", "ch"); c.Depth != 300 || c.BackendDepth != 200 {
		t.Errorf("before: depth %d, on disk %d", c.Depth, c.BackendDepth)
	}
	if files, _ := filepath.Glob(filepath.Join(o.DataPath, "t:ch.diskqueue.0*.dat")); len(files) < 5 {
		t.Errorf("the overflow is in %d files", len(files))
	}
	consumer := n.subscribe("t", "ch", 1)
	got := take(consumer, 149)
	last := consumer.Next().Message()
	consumer.Send("RDY 0\nFIN " + last.ID + "\n")
	got = append(got, string(last.Body))
	eventually(t, "150 are left", func() bool { return n.channel("t", "ch").Depth == 150 })
	n = again(t, n, o)
	topic, channel := n.topic("t"), n.channel("t", "ch")
	if topic.Depth != 0 || channel.Depth != 150 || channel.InFlightCount != 0 {
		t.Errorf("after: topic %d, channel %d", topic.Depth, channel.Depth)
	}
	got = append(got, take(n.subscribe("t", "ch", 10), 150)...)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Error("what was consumed is not what was published")
	}
	eventually(t, "nothing is left", func() bool { c := n.channel("t", "ch"); return c.Depth+int64(c.InFlightCount) == 0 })
}

// TestEveryStateSurvivesACleanStop: in flight, requeued, deferred, waiting, and in a topic that has no channel; with ids,
// times and attempts as they were.
func TestEveryStateSurvivesACleanStop(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability = levelMemory
	n := startWith(t, o)
	c := n.subscribe("t", "c", 0)
	c.Send(prototest.Mpub("t", "in flight", "later", "waiting"))
	c.Expect("OK")
	c.Send("RDY 2\n")
	before := map[string]prototest.Delivered{}
	for _, body := range []string{"in flight", "later"} {
		before[body] = c.ExpectMessage(body, 1)
	}
	c.Send("REQ " + before["in flight"].ID + " 0\n")
	for before["in flight"].Attempts != 2 {
		m := c.Next().Message()
		before[string(m.Body)] = m
		if string(m.Body) == "waiting" {
			c.Send("REQ " + m.ID + " 0\n") // the two take turns
		}
	}
	c.Send("RDY 0\nREQ " + before["later"].ID + " 3600000\n")
	c.Send("DPUB t 3600000\n" + prototest.Body("deferred"))
	c.Expect("OK")
	n.post("/pub?topic=alone", "no channel")
	eventually(t, "all states are taken", func() bool {
		s := n.channel("t", "c")
		return s.InFlightCount >= 1 && s.DeferredCount == 2 && s.Depth+int64(s.InFlightCount) == 2
	})
	n = again(t, n, o)
	c = n.subscribe("t", "c", 10)
	after := map[string]prototest.Delivered{}
	for range 4 {
		m := c.Next().Message()
		after[string(m.Body)] = m
	}
	for body, was := range before {
		is := after[body]
		if is.ID != was.ID || is.Timestamp != was.Timestamp || is.Attempts != was.Attempts+1 {
			t.Errorf("%s was %s, attempt %d, and is %s, attempt %d", body, was.ID, was.Attempts, is.ID, is.Attempts)
		}
	}
	if m := after["deferred"]; m.Attempts != 1 {
		t.Errorf("what was deferred came as attempt %d", m.Attempts)
	}
	if s := n.topic("alone"); s.Depth != 1 || len(s.Channels) != 0 {
		t.Errorf("the topic without a channel has %+v", s)
	}
	n.subscribe("alone", "c", 1).ExpectMessage("no channel", 1)
}

// metadata reads the list of topics, each as name, pause and channels.
func metadata(t *testing.T, o broker.Options) (topics map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.DataPath, "nsqd.dat"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Topics []struct {
			Name     string
			Paused   bool
			Channels []struct {
				Name   string
				Paused bool
			}
		}
		Version string
	}
	if err := json.Unmarshal(text, &list); err != nil || list.Version != "1.3.0" {
		t.Fatalf("%v in %s", err, text)
	}
	topics = map[string]string{}
	for _, topic := range list.Topics {
		topics[topic.Name] = fmt.Sprint(topic.Paused, topic.Channels)
	}
	return topics
}

// TestMetadata: topics, channels and pauses are on disk when HTTP has answered, survive a restart, and ephemeral ones are not
// among them.
func TestMetadata(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	for _, path := range []string{
		"/topic/create?topic=a", "/topic/create?topic=b", "/topic/create?topic=e%23ephemeral",
		"/channel/create?topic=a&channel=x", "/channel/create?topic=a&channel=y%23ephemeral", "/channel/create?topic=b&channel=z",
		"/topic/pause?topic=a", "/channel/pause?topic=a&channel=x",
	} {
		n.post(path, "")
	}
	want := map[string]string{"a": "true [{x true}]", "b": "false [{z false}]"}
	if got := metadata(t, o); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after pausing the file holds %v", got)
	}
	n.post("/topic/unpause?topic=a", "")
	n.post("/topic/delete?topic=b", "")
	want = map[string]string{"a": "false [{x true}]"}
	eventually(t, "the deletion is on disk", func() bool { return fmt.Sprint(metadata(t, o)) == fmt.Sprint(want) })
	n = again(t, n, o)
	s := n.stats()
	if len(s.Topics) != 1 || s.Topics[0].Paused || len(s.Topics[0].Channels) != 1 || !s.Topics[0].Channels[0].Paused {
		t.Errorf("after the restart: %+v", s.Topics)
	}
	n.post("/pub?topic=a", "m")
	c := n.subscribe("a", "x", 1)
	c.Send(prototest.Pub("other", "probe"))
	c.Expect("OK") // and no message before it
	n.post("/channel/unpause?topic=a&channel=x", "")
	c.ExpectMessage("m", 1)
}

// TestEphemeralGoes: a channel with its last client and its topic with it, at once, and nothing of them on disk.
func TestEphemeralGoes(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	c := n.subscribe("t#ephemeral", "c#ephemeral", 1)
	n.post("/pub?topic=t%23ephemeral", "x")
	c.ExpectMessage("x", 1)
	c.Conn.Close()
	cmdtest.Eventually(t, "the topic is gone", time.Second, func() bool { return n.topic("t#ephemeral") == nil })
	if files, _ := filepath.Glob(filepath.Join(n.dir, "*ephemeral*")); len(files) != 0 {
		t.Errorf("%v is left of it", files)
	}
}

// TestUnixSocketFiles: they are there while the broker runs, serve both protocols, and are gone afterwards.
func TestUnixSocketFiles(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.TCPAddress, o.HTTPAddress = unixPath(t, "tcp.sock"), unixPath(t, "http.sock")
	n := startWith(t, o)
	for _, path := range []string{o.TCPAddress, o.HTTPAddress} {
		if info, err := os.Stat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	n.subscribe("t", "c", 1)
	if s := n.get("/stats?format=json"); !strings.Contains(s, `"remote_address":"@"`) {
		t.Errorf("/stats says %s", s)
	}
	if s := n.get("/info"); !strings.Contains(s, `"http_port":-1,"tcp_port":-1`) {
		t.Errorf("/info says %s", s)
	}
	n.stop()
	for _, path := range []string{o.TCPAddress, o.HTTPAddress} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// TestFolderIsTakenOnce: a second broker on the folder is refused while the first runs, and nothing of it stays open.
func TestFolderIsTakenOnce(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	second, err := broker.New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "failed to lock data-path") {
		t.Errorf("the second one started with %v", err)
	}
	n.post("/pub?topic=t", "x")
	n = again(t, n, o)
	if s := n.topic("t"); s == nil || s.Depth != 1 {
		t.Errorf("after the restart: %+v", s)
	}
}

// TestTakenAddressFailsTheStart, names the flag, and leaves the folder free.
func TestTakenAddressFailsTheStart(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	o := options(t)
	o.HTTPAddress = n.HTTPAddr().String()
	s, err := broker.New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "--http-address") {
		t.Errorf("it started with %v", err)
	}
	o.HTTPAddress = "127.0.0.1:0"
	startWith(t, o)
}

// occupied puts a folder in the place of a queue's first file, so that the queue cannot be written; free takes it away.
func occupied(t *testing.T, dir, queue string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, queue+".diskqueue.000000.dat")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskThatFails: a publish that must go to disk gets an error and the broker says that it is unwell, until a write
// succeeds again; nothing that was refused is delivered.
func TestDiskThatFails(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability = levelMemory
	o.MemQueueSize = 2
	n := startWith(t, o)
	n.post("/topic/create?topic=t", "")
	n.post("/channel/create?topic=t&channel=c", "")
	n.publish("t", "1", "2")
	free := occupied(t, o.DataPath, "t:c")
	p := n.dial()
	p.Send(prototest.Pub("t", "refused"))
	if f := p.Next(); f.Type != prototest.Error || !strings.HasPrefix(string(f.Payload), "E_PUB_FAILED PUB failed ") {
		t.Errorf("the publish was answered by %v", f)
	}
	if status, text := n.ask(http.MethodPost, "/pub?topic=t", "refused"); status != http.StatusServiceUnavailable ||
		!strings.Contains(text, "disk queue") {
		t.Errorf("the publish over HTTP was answered by %d %s", status, text)
	}
	if status, text := n.ask(http.MethodGet, "/ping", ""); status != http.StatusInternalServerError || !strings.HasPrefix(text, "NOK - ") {
		t.Errorf("/ping says %d %s", status, text)
	}
	free()
	p.Send(prototest.Pub("t", "3")) // the connection is still good
	p.Expect("OK")
	if text := n.get("/ping"); text != "OK" {
		t.Errorf("/ping says %s", text)
	}
	if got := take(n.subscribe("t", "c", 1), 3); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("got %v", got)
	}
	cmdtest.Eventually(t, "nothing is left", time.Second, func() bool { c := n.channel("t", "c"); return c.Depth+int64(c.InFlightCount) == 0 })
}
