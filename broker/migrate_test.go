package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/broker/storage"
	"brokerd/broker/topic"
	"brokerd/diskqueue/nsqdata"
	"brokerd/protocol"
)

// queueOptions are nsqd's, with files that hold a few dozen messages.
func queueOptions(dir string) nsqdata.QueueOptions {
	return nsqdata.QueueOptions{Dir: dir, MaxBytesPerFile: 4 << 10, MinMsgSize: nsqdata.RecordHeaderSize, MaxMsgSize: 1 << 20,
		SyncEvery: 2500, SyncTimeout: time.Second}
}

// fillQueue writes a queue of nsqd's with n messages, prefix0 and so on, of which message i was delivered attempts(i) times.
func fillQueue(t testing.TB, dir, name, prefix string, n int, attempts func(i int) uint16) {
	t.Helper()
	q, err := nsqdata.Open(name, queueOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id := protocol.MessageID(0x0d00_0000_0000_0000 + i) // as nsqd's, the same in each queue
		if err := q.Put(nsqdata.AppendRecord(nil, int64(1000+i), attempts(i), id, []byte(prefix+strconv.Itoa(i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func never(int) uint16 { return 0 }

// nsqdFolder is what a stopped nsqd leaves: topic t with two channels, of which one is paused, and a backlog in each and in
// itself, and a topic without channels.
func nsqdFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	fillQueue(t, dir, nsqdata.ChannelQueueName("t", "a"), "a", 300, func(i int) uint16 { return uint16(i / 100) })
	fillQueue(t, dir, nsqdata.ChannelQueueName("t", "b"), "b", 10, never)
	fillQueue(t, dir, nsqdata.TopicQueueName("t"), "t", 20, never)
	fillQueue(t, dir, nsqdata.TopicQueueName("alone"), "alone", 5, never)
	meta := nsqdata.Metadata{Topics: []nsqdata.TopicMeta{
		{Name: "t", Channels: []nsqdata.ChannelMeta{{Name: "a"}, {Name: "b", Paused: true}}}, {Name: "alone", Paused: true},
	}}
	if err := nsqdata.SaveMetadata(dir, "1.3.0", meta); err != nil {
		t.Fatal(err)
	}
	return dir
}

// expected is what channel a of nsqdFolder has, with the attempt as which each message is to come.
func expected() map[string]uint16 {
	want := map[string]uint16{}
	for i := range 300 {
		want["a"+strconv.Itoa(i)] = uint16(i/100) + 1
	}
	for i := range 20 {
		want["t"+strconv.Itoa(i)] = 1
	}
	return want
}

// consume takes everything that a channel has and demands each message once, with the attempts that are expected; it returns
// the bodies in their order.
func consume(t testing.TB, n *node, topic, channel string, want map[string]uint16) (order []string) {
	t.Helper()
	c := n.subscribe(topic, channel, 100)
	left := map[string]uint16{}
	for body, attempts := range want {
		left[body] = attempts
	}
	for range want {
		m := c.Next().Message()
		c.Send("FIN " + m.ID + "\n")
		body := string(m.Body)
		if attempts, ok := left[body]; !ok || m.Attempts != attempts {
			t.Errorf("%s came as attempt %d, wanted %d (0: not or not again)", body, m.Attempts, attempts)
		}
		delete(left, body)
		order = append(order, body)
	}
	eventually(t, "nothing is left", func() bool { s := n.channel(topic, channel); return s.Depth+int64(s.InFlightCount) == 0 })
	return order
}

func noQueues(t testing.TB, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*.diskqueue.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("still there: %v (%v)", left, err)
	}
}

// TestTakeOver: a broker at level disk on the folder of an nsqd has every message once, in order, with its attempts and
// time, and every pause; the old files are kept aside, and a second start takes nothing again.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	for _, level := range []topic.Level{topic.Disk, topic.Fsync} {
		t.Run(level.String(), func(t *testing.T) {
			o := options(t)
			o.DataPath, o.Durability, o.MemQueueSize = nsqdFolder(t), broker.Durability(level), 50
			n := startWith(t, o)
			noQueues(t, o.DataPath)
			aside, _ := filepath.Glob(filepath.Join(o.DataPath, "nsqd-imported", "t:a.diskqueue.*.dat"))
			if len(aside) < 3 {
				t.Errorf("put aside: %v", aside)
			}
			for range 2 {
				tt, alone := n.topic("t"), n.topic("alone")
				if tt.Depth != 0 || n.channel("t", "a").Depth != 320 || n.channel("t", "b").Depth != 30 || alone.Depth != 5 {
					t.Errorf("depths: %+v %+v", tt, alone)
				}
				if tt.Paused || n.channel("t", "a").Paused || !n.channel("t", "b").Paused || !alone.Paused {
					t.Error("a pause is not what it was")
				}
				if tt.MessageCount != 0 {
					t.Errorf("%d messages count as published", tt.MessageCount)
				}
				n = again(t, n, o)
			}
			var fresh []string
			for _, body := range consume(t, n, "t", "a", expected()) {
				if i, err := strconv.Atoi(body[1:]); err == nil && (body[0] == 't' || i < 100) {
					fresh = append(fresh, body)
				}
			}
			for i, body := range fresh {
				want := "a" + strconv.Itoa(i)
				if i >= 100 {
					want = "t" + strconv.Itoa(i-100)
				}
				if body != want {
					t.Fatalf("message %d of those that come for the first time is %s", i, body)
				}
			}
			n.post("/topic/unpause?topic=alone", "")
			m := n.subscribe("alone", "c", 1).Next().Message()
			if m.Timestamp != 1000 || string(m.Body) != "alone0" {
				t.Errorf("%s is of %d", m.Body, m.Timestamp)
			}
		})
	}
}

// store is what a broker has open of a folder, without the broker.
type store struct {
	engine   *storage.Engine
	registry *topic.Registry
}

func openStore(t testing.TB, dir string) *store {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	k, recovery, err := storage.Open(storage.Options{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	r := topic.NewRegistry(topic.Config{MemQueueSize: 50, Journal: k.Journal(), Segments: k.Segments(), Log: log,
		Level: func(string) topic.Level { return topic.Disk }})
	meta, _, err := nsqdata.LoadMetadata(dir)
	if err == nil {
		err = r.Recover(recovery)
	}
	if err == nil {
		err = r.Restore(meta)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.Start(r)
	return &store{k, r}
}

func (s *store) close(t testing.TB) {
	t.Helper()
	if err := s.registry.Close(); err != nil {
		t.Error(err)
	}
	if err := s.engine.Close(); err != nil {
		t.Error(err)
	}
}

// TestTakeOverIsCutShort: wherever a start dies, the next one has every message of the queue, and none twice.
func TestTakeOverIsCutShort(t *testing.T) {
	t.Parallel()
	const name = "t:a"
	scan := func(dir string, m *topic.Import, limit int) {
		_, err := nsqdata.Scan(dir, name, func(r nsqdata.Record) error {
			if limit--; limit < 0 {
				return io.EOF
			}
			return m.Add(r.Timestamp, r.Attempts, r.ID, r.Body)
		})
		if err != nil && limit >= 0 {
			t.Fatal(err)
		}
	}
	aside := func(dir string) string {
		into := filepath.Join(dir, "nsqd-imported")
		if err := os.MkdirAll(into, 0o755); err != nil {
			t.Fatal(err)
		}
		return into
	}
	finish := func(dir string, m *topic.Import) {
		scan(dir, m, 1<<20)
		if err := m.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	for what, do := range map[string]func(dir string, m *topic.Import){
		"before the first message": func(string, *topic.Import) {},
		"after some messages":      func(dir string, m *topic.Import) { scan(dir, m, 130) },
		"after most messages":      func(dir string, m *topic.Import) { scan(dir, m, 299) },
		"before the files move":    finish,
		"while the files move": func(dir string, m *topic.Import) {
			finish(dir, m)
			file := "/t:a.diskqueue.000000.dat"
			if err := os.Rename(dir+file, aside(dir)+file); err != nil {
				t.Fatal(err)
			}
		},
		"after the files have moved": func(dir string, m *topic.Import) {
			finish(dir, m)
			if err := nsqdata.PutAside(dir, name, aside(dir)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir, crashed := nsqdFolder(t), filepath.Join(t.TempDir(), "data")
			s := openStore(t, dir)
			tt := s.registry.Lookup("t")
			source, err := nsqdata.Source(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			do(dir, tt.BeginImport(name, source, tt.LookupChannel("a")))
			if err := copyFolder(crashed, dir); err != nil { // what a kill leaves
				t.Fatal(err)
			}
			s.close(t)
			o := options(t)
			o.DataPath = crashed
			n := startWith(t, o)
			noQueues(t, crashed)
			consume(t, n, "t", "a", expected())
			if s := n.channel("t", "b"); s.Depth != 30 {
				t.Errorf("channel b has %d", s.Depth)
			}
		})
	}
}

// TestTakeOverOfDamage: what can be read of a damaged queue is taken over, and the log says what could not.
func TestTakeOverOfDamage(t *testing.T) {
	t.Parallel()
	dir := nsqdFolder(t)
	path := filepath.Join(dir, "t:a.diskqueue.000000.dat")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second := 4 + nsqdata.RecordHeaderSize + len("a0")
	copy(data[second:], "\xff\xff\xff\xff") // the length of the second message
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var lost int
	report, err := nsqdata.Scan(dir, "t:a", func(nsqdata.Record) error { return nil })
	if err != nil || len(report.Damage) != 1 || !strings.Contains(report.Damage[0], fmt.Sprintf("000000.dat at byte %d of", second)) {
		t.Fatalf("%+v %v", report, err)
	}
	lost = 300 - int(report.Records)
	o := options(t)
	o.DataPath = dir
	n := startWith(t, o)
	if got := n.channel("t", "a").Depth; lost < 10 || got != int64(320-lost) {
		t.Errorf("%d are lost and %d there", lost, got)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, "nsqd-imported", "t:a.diskqueue.000000.dat")); err != nil || !slices.Equal(kept, data) {
		t.Errorf("the damaged file is not kept: %v", err)
	}
}

// fading is a context that ends after it was looked at a number of times.
type fading struct {
	context.Context
	left int
}

func (f *fading) Err() error {
	if f.left--; f.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestAStartIsEndedDuringATakeOver, and the next one goes on where it was: nothing is lost, nothing comes twice.
func TestAStartIsEndedDuringATakeOver(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.DataPath = nsqdFolder(t)
	for _, after := range []int{0, 1, 150, 250} {
		s, err := broker.New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(&fading{t.Context(), after}); !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d looks: %v", after, err)
		}
	}
	consume(t, startWith(t, o), "t", "a", expected())
}
