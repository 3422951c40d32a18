package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/diskqueue/nsqdata"
)

// fill writes a queue of n messages, prefix0 and so on, each delivered once before.
func fill(t testing.TB, dir, name, prefix string, n int) {
	t.Helper()
	fillQueue(t, dir, name, prefix, n, func(int) uint16 { return 1 })
}

// list writes nsqd.dat.
func list(t testing.TB, dir string, topics ...nsqdata.TopicMeta) {
	t.Helper()
	if err := nsqdata.SaveMetadata(dir, "1.3.0", nsqdata.Metadata{Topics: topics}); err != nil {
		t.Fatal(err)
	}
}

// remove removes files of a folder, which must be there.
func remove(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// unlistedCases are folders of an nsqd with queues that its list does not have, or only in part: what a broker at level disk then has
// of topic t, or of its channel c, and what is there of the rest.
var unlistedCases = []struct {
	name           string
	make           func(t testing.TB, dir string)
	topic, channel int    // messages, -1 where there is none
	check          string // what check says
}{
	{"a topic that is in no list", func(t testing.TB, dir string) {
		list(t, dir)
		fill(t, dir, "t", "m", 200)
	}, 200, -1, "queue t: 200 messages, 6690 bytes: its topic is not in nsqd.dat: a start at level disk or fsync makes it"},
	{"a channel of a topic that is listed and paused", func(t testing.TB, dir string) {
		list(t, dir, nsqdata.TopicMeta{Name: "t", Paused: true})
		fill(t, dir, "t:c", "m", 200)
	}, 0, 200, "queue t:c: 200 messages, 6690 bytes: its channel is not in nsqd.dat: a start at level disk or fsync makes it"},
	{"a topic and its channel, without any list", func(t testing.TB, dir string) {
		fill(t, dir, "t", "m", 10)
		fill(t, dir, "t:c", "n", 20)
	}, 0, 30, "queue t: 10 messages"},
	{"a queue without a meta file", func(t testing.TB, dir string) {
		fill(t, dir, "t:c", "m", 200)
		remove(t, dir, "t:c.diskqueue.meta.dat")
	}, 0, 200, "queue t:c: 200 messages"},
	{"a queue without a meta file and without its first data files, which were read", func(t testing.TB, dir string) {
		fill(t, dir, "t:c", "m", 400)
		remove(t, dir, "t:c.diskqueue.meta.dat", "t:c.diskqueue.000000.dat", "t:c.diskqueue.000001.dat")
	}, 0, 400 - 123 - 120, "queue t:c: 157 messages"},
	{"a listed queue of that kind", func(t testing.TB, dir string) {
		list(t, dir, nsqdata.TopicMeta{Name: "t", Channels: []nsqdata.ChannelMeta{{Name: "c"}}})
		fill(t, dir, "t:c", "m", 400)
		remove(t, dir, "t:c.diskqueue.meta.dat", "t:c.diskqueue.000000.dat", "t:c.diskqueue.000001.dat")
	}, 0, 400 - 123 - 120, "queue t:c: 157 messages"},
	{"a data file that has vanished", func(t testing.TB, dir string) {
		fill(t, dir, "t:c", "m", 400)
		remove(t, dir, "t:c.diskqueue.000001.dat")
	}, 0, 400 - 120, "DAMAGE queue t:c: 1 files before t:c.diskqueue.000002.dat are missing"},
	{"a data file that has vanished behind what an older meta file knows", func(t testing.TB, dir string) {
		fill(t, dir, "t:c", "m", 100)
		older, err := os.ReadFile(filepath.Join(dir, "t:c.diskqueue.meta.dat"))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, dir, "t:c", "n", 300)
		remove(t, dir, "t:c.diskqueue.000001.dat")
		if err := os.WriteFile(filepath.Join(dir, "t:c.diskqueue.meta.dat"), older, 0o600); err != nil {
			t.Fatal(err)
		}
	}, 0, 400 - 122, "are missing"},
	{"an empty queue, of a topic that was deleted", func(t testing.TB, dir string) {
		fill(t, dir, "t:c", "m", 0)
		fill(t, dir, "t", "m", 0)
		if err := os.WriteFile(filepath.Join(dir, "t.diskqueue.meta.dat"), []byte("0\n3,0\n3,0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}, -1, -1, "no damage"},
	{"nothing but what was put aside", func(t testing.TB, dir string) {
		if err := os.WriteFile(filepath.Join(dir, "t:c.diskqueue.000003.dat.bad"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}, -1, -1, "put aside by an earlier start: "},
	{"an ephemeral channel, of which nobody makes files", func(t testing.TB, dir string) {
		fill(t, dir, "t:c#ephemeral", "m", 3)
		fill(t, dir, "t#ephemeral", "m", 3)
		if err := os.WriteFile(filepath.Join(dir, "t#ephemeral.diskqueue.000000.dat"), []byte("what nobody reads is no damage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}, -1, -1, "queue t:c#ephemeral: 3 messages, 96 bytes: what is ephemeral has no queue on disk"},
	{"a channel of an ephemeral topic, as an nsqd leaves it", func(t testing.TB, dir string) { fill(t, dir, "t#ephemeral:c", "m", 3) }, -1, -1,
		"queue t#ephemeral:c: 3 messages, 96 bytes: its channel is not in nsqd.dat: a start serves them when it is made"},
	{"names that cannot be", func(t testing.TB, dir string) {
		for _, name := range []string{"t:", "t:c:c", "bad name", "t:bad name", strings.Repeat("t", 65)} {
			fill(t, dir, name, "m", 3)
		}
	}, -1, -1, "queue bad name: 3 messages, 96 bytes: its topic is not in nsqd.dat: no topic or channel can have this name"},
	{"half-written files", func(t testing.TB, dir string) {
		fill(t, dir, "t", "m", 5)
		for _, name := range []string{"nsqd.dat.1234.tmp", "t.diskqueue.meta.dat.99.tmp"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}, 5, -1, "half-written, which a crash leaves: a start removes it: nsqd.dat.1234.tmp"},
}

// depths returns what a broker has of topic t and of its channel c.
func depths(n *node) (topic, channel int) {
	topic, channel = -1, -1
	if t := n.topic("t"); t != nil {
		topic = int(t.Depth)
	}
	if c := n.channel("t", "c"); c != nil {
		channel = int(c.Depth)
	}
	return topic, channel
}

// TestQueuesThatNoListHasAreTakenOver, named by check, and exported; nothing comes twice.
func TestQueuesThatNoListHasAreTakenOver(t *testing.T) {
	t.Parallel()
	for _, c := range unlistedCases {
		t.Run(c.name, func(t *testing.T) {
			o := options(t)
			c.make(t, o.DataPath)
			before := contents(t, o.DataPath)
			var report, exported bytes.Buffer
			harmless := strings.Contains(c.name, "ephemeral")
			if err := broker.Check(o.DataPath, &report, nil); err != nil && (harmless || !errors.Is(err, broker.ErrDamaged)) {
				t.Fatalf("%v\n%s", err, report.String())
			}
			if !strings.Contains(report.String(), c.check) {
				t.Errorf("check does not say %q:\n%s", c.check, report.String())
			}
			out := filepath.Join(t.TempDir(), "out")
			if err := broker.Export(o.DataPath, out, false, &exported, nil); err != nil && (harmless || !errors.Is(err, broker.ErrDamaged)) {
				t.Fatalf("%v\n%s", err, exported.String())
			}
			if harmless && !strings.Contains(exported.String(), "#ephemeral is left out") && !strings.Contains(exported.String(), "#ephemeral:c is left out") {
				t.Errorf("export does not name what it leaves out:\n%s", exported.String())
			}
			if !maps.Equal(before, contents(t, o.DataPath)) {
				t.Error("check or export has changed the folder")
			}
			n := startWith(t, o)
			for range 2 {
				if topic, channel := depths(n); topic != c.topic || channel != c.channel {
					t.Errorf("there are %d in the topic and %d in its channel, wanted %d and %d", topic, channel, c.topic, c.channel)
				}
				if tt := n.topic("t"); tt != nil && tt.Paused != strings.Contains(c.name, "paused") {
					t.Errorf("paused: %v", tt.Paused)
				}
				n = again(t, n, o)
			}
			n.stop()
			o.DataPath, o.Durability = out, levelMemory
			topics := 0
			for _, m := range startWith(t, o).stats().Topics {
				topics += int(m.Depth)
				for _, ch := range m.Channels {
					topics += int(ch.Depth)
				}
			}
			if want := max(0, c.topic) + max(0, c.channel); topics != want && c.topic+c.channel != 30 { // an export keeps the topic's apart
				t.Errorf("%d messages were exported, wanted %d\n%s", topics, want, exported.String())
			}
		})
	}
}

// TestQueuesThatNoListHasWaitAtLevelMemory for whoever makes their topic and channel, as in nsqd, whatever is missing of them.
func TestQueuesThatNoListHasWaitAtLevelMemory(t *testing.T) {
	t.Parallel()
	for _, c := range unlistedCases {
		if c.topic < 0 || strings.Contains(c.name, "vanished") { // what is behind a gap is found by a take-over only
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			o := options(t)
			o.Durability = levelMemory
			c.make(t, o.DataPath)
			n := startWith(t, o)
			n.post("/topic/create?topic=t", "")
			n.post("/channel/create?topic=t&channel=c", "")
			eventually(t, "all of it is there", func() bool { // what the topic has moves to its channel
				topic, channel := depths(n)
				return topic == 0 && channel == c.topic+max(0, c.channel)
			})
		})
	}
}

// TestListedQueues: what List makes of the names of files.
func TestListedQueues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.b-c_d.diskqueue.meta.dat", "x.diskqueue.meta.dat:c.diskqueue.000007.dat", "x:y.diskqueue.1000000.dat",
		"x:y.diskqueue.000012.dat", "x:y.diskqueue.12.dat", "x:y.diskqueue.abcdef.dat", ".diskqueue.000001.dat", "nsqd.dat", "brokerd.ids", "checkpoint.000001.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	queues, halfWritten, err := nsqdata.List(dir)
	want := "[{a.b-c_d a.b-c_d  true 0 -1} {x.diskqueue.meta.dat:c x.diskqueue.meta.dat c false 7 7} {x:y x y false 12 1000000}]"
	if got := fmt.Sprint(queues); err != nil || got != want || len(halfWritten) != 0 {
		t.Errorf("%v %v, %v\nwant %s", got, halfWritten, err, want)
	}
}
