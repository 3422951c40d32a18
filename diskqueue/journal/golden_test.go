package journal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"brokerd/protocol"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew")

// frames returns count messages with ids from first on.
func frames(first protocol.MessageID, count int) (out []byte) {
	for i := range count {
		out = protocol.AppendMessageHeader(out, 1700000000000000000+int64(i), 1, first+protocol.MessageID(i), 5)
		out = append(out, "body"+string(rune('0'+i%10))...)
	}
	return out
}

// Write encodes a whole state that is settled.
func Write(s *State) []byte {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Head(s.NextID, s.From, s.Time)
	w.Origins(s.Origins)
	for _, id := range sortedKeys(s.Topics) {
		t := s.Topics[id]
		w.Topic(t)
		keys := t.Keys.Snapshot(math.MaxUint64)
		w.Keys(&keys)
		for _, e := range t.Expiry {
			w.Expiry(e)
		}
		for _, c := range t.Channels {
			w.Channel(c)
			c.Out.Each(w.Out)
		}
	}
	if n, err := w.Finish(); err != nil || n != int64(b.Len()) {
		panic(fmt.Sprintf("a checkpoint of %d bytes is said to have %d, error %v", b.Len(), n, err))
	}
	return b.Bytes()
}

// goldenBytes are bytes as they are on disk.
type goldenBytes struct {
	name string
	data []byte
}

// golden is a record of each kind, and a checkpoint.
func golden() []goldenBytes {
	var finished, delivered, discarded, void, back Runs
	finished.Begin(1, 2)
	delivered.BeginDelivered(1, 2, 0x3ff)
	discarded.BeginDiscarded(1, 2, Sampled)
	void.BeginVoid(1)
	back.BeginBack(1, 2, 77, TimedOut)
	back.Add(0x401)
	for _, pos := range []Position{0x400, 0x401, 0x402, 0x410, 0x100} {
		finished.Add(pos)
		delivered.Add(pos)
		discarded.Add(pos)
	}
	void.AddRange(Range{0x420, 0x42f})
	void.AddRange(Range{0x430, 0x430})
	var d Deferrals
	d.Begin(1, 2)
	d.Add(0x400, 1700000060000000000)
	d.Add(0x300, 1700000061000000000)
	return []goldenBytes{
		{"publish", append(AppendPublish(nil, Publish{Topic: 1, Only: Own, Due: 1700000060000000000, First: 7,
			Count: 2}), frames(0x400, 2)...)},
		{"publish expiry", append(AppendPublish(nil, Publish{Topic: 1, Due: 1700000060000000000, Expires: 1700000090000000000, First: 9,
			Count: 1}), frames(0x402, 1)...)},
		{"publish dedup", keyed(7, 5, 1, 0, 3)},
		{"publish with keys", append(AppendPublish(nil, Publish{Topic: 1, First: 7, Count: 2, Sums: []uint32{KeySum([]byte("a key")), 0}}),
			frames(0x400, 2)...)},
		{"aside", finished.Record()},
		{"publish with properties", append(AppendPublish(nil, Publish{Topic: 1, First: 7, Count: 2, Properties: goldenColumn()}), frames(0x400, 2)...)},
		{"moved", goldenMoved()},
		{"delivered", delivered.Record()},
		{"finished", finished.Record()},
		{"deferred", d.Record()},
		{"discarded", discarded.Record()},
		{"void", void.Record()},
		{"time", AppendTime(nil, 1700000000000000000)},
		{"by", AppendBy(nil, 1, 2, 77)},
		{"back", back.Record()},
		{"consumer", AppendConsumer(nil, 1, 2, 77, "worker 10.0.0.1:40000")},
		{"change", AppendChange(nil, Change{Op: OpCreateChannel, Topic: 1, Channel: 2, Name: "billing"})},
		{"change skip", AppendChange(nil, Change{Op: OpSkip, Topic: 1, Next: 99, Options: json.RawMessage(`{"durability":"fsync"}`)})},
		{"change rewind", AppendChange(nil, Change{Op: OpRewind, Topic: 1, Channel: 2, Next: 0x400, Runs: delivered.Runs()})},
		{"change floor", AppendChange(nil, Change{Op: OpFloor, Topic: 1, Next: 0x420})},
		{"checkpoint", Write(goldenState())},
		{"names in Needs", []byte(strings.Join(FeatureNames(), " "))},
	}
}

// goldenColumn is what the second of two messages from position 7 on has beside its body.
func goldenColumn() []byte {
	return AppendColumn(nil, 7, []Beside{{8, AppendProperties(nil, []Property{{"dead_letter.reason", "max_attempts"}, {"empty", ""}})}})
}

func goldenMoved() []byte {
	var runs Runs
	runs.Begin(0, 0)
	runs.Add(0x401)
	runs.Add(0x399)
	b := AppendMoved(nil, Moved{Topic: 1, Channel: 2, Why: DeadLettered, Runs: runs.Runs()})
	return append(AppendPublish(b, Publish{Topic: 3, Only: Own, First: 7, Count: 2, Properties: goldenColumn()}), frames(0x400, 2)...)
}

func goldenState() *State {
	s := NewState()
	s.NextID, s.From = 9, Offset{File: 3, Offset: 4096}
	t := &Topic{ID: 1, Name: "orders", Paused: true, Options: json.RawMessage(`{"durability":"disk"}`), Next: 0x500, Floor: 0x420,
		Unshared: []Range{{0x422, 0x422}, {0x430, 0x43f}}, Stamp: 1700000000000000000,
		Nodes:  []Node{{First: 0x400, Count: 0x41, File: 3, Offset: 16, Length: 4000}},
		Files:  []File{{Node: Node{First: 0x441, Count: 0x20, File: 4, Length: 8000}, Size: 9000, Oldest: 1700000000000000000, Newest: 1700000009000000000, Low: 0x40, High: 0x5f}},
		Expiry: []Expiry{{First: 0x410, Count: 9, At: 1700000090000000000}}, AsOf: Offset{File: 3, Offset: 4200}}
	t.Keys.Add(someKey(1), 0x401, 1700000000)
	t.Keys.Add(someKey(2), 0x417, 1700000030)
	own := &Channel{AsOf: Offset{File: 3, Offset: 4300}, Waiting: []Range{{0x430, 0x440}}}
	c := &Channel{ID: 2, Name: "billing", Paused: true, After: 0x40f, Offered: 0x4ff, Inherited: 0x3ff,
		Counts: Counts{Accepted: 77, Finished: 40, Discarded: [Reasons]uint64{Sampled: 9, Emptied: 3}}, AsOf: Offset{File: 3, Offset: 4400},
		Waiting: []Range{{0x410, 0x418}, {0x420, 0x42f}}}
	c.Out.Set(0x401, Out{Due: 1700000060000000000, Attempts: 3})
	c.Out.Set(0x405, Out{Attempts: 1})
	c.Out.Set(0x406, Out{Due: -1700000000000000000, Attempts: 1})
	t.Channels = []*Channel{own, c}
	s.Topics[1] = t
	return s
}

// The bytes of a record or a checkpoint are a promise to every broker that comes later.
func TestGolden(t *testing.T) { keepsTo(t, "testdata/golden.txt", golden()) }

// keepsTo holds bytes to a file of golden ones.
func keepsTo(t *testing.T, name string, list []goldenBytes) {
	t.Helper()
	var text strings.Builder
	for _, g := range list {
		fmt.Fprintf(&text, "%s\n%s\n", g.name, hex.Dump(g.data))
	}
	if *update {
		if err := os.WriteFile(name, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the format has changed:\n%s\nwant:\n%s", text.String(), want)
	}
}

func read(b []byte) (*State, error) { return ReadCheckpoint(bytes.NewReader(b), int64(len(b))) }

func TestCheckpointComesBack(t *testing.T) {
	want := goldenState()
	got, err := read(Write(want))
	if err != nil {
		t.Fatal(err)
	}
	want = goldenState()
	for _, s := range []*State{got, want} {
		for _, c := range s.Topics[1].Channels {
			c.Out.Each(func(Position, Out) {})
		}
	}
	if a, b := fmt.Sprintf("%+v", dump(got)), fmt.Sprintf("%+v", dump(want)); a != b {
		t.Errorf("got %s\nwant %s", a, b)
	}
	if !reflect.DeepEqual(got.Topics[1].Nodes, want.Topics[1].Nodes) || got.NextID != 9 || got.From != want.From {
		t.Errorf("nodes %v, next %d, from %v", got.Topics[1].Nodes, got.NextID, got.From)
	}
}

// Every byte of a checkpoint counts: with one changed, or cut off anywhere, it is not taken for one.
func TestDamagedCheckpoint(t *testing.T) {
	whole := Write(goldenState())
	for i := range whole {
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(whole)
			bad[i] ^= flip
			if _, err := read(bad); err == nil {
				t.Errorf("byte %d changed by %#x and nobody noticed", i, flip)
			}
		}
		if _, err := read(whole[:i]); err == nil {
			t.Errorf("cut off at %d and nobody noticed", i)
		}
	}
	if _, err := read(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("a byte more and nobody noticed")
	}
}
