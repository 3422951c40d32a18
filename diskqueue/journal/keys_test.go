package journal

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// keysModel does to Keys and to a plain list the same.
type keysModel struct {
	keys  Keys
	list  []naiveKey
	pos   Position
	at    uint32
	taken []takenSnapshot
}

type naiveKey struct {
	key Key
	pos Position
	at  uint32
}

// takenSnapshot is what a snapshot was when it was taken, and must stay.
type takenSnapshot struct {
	snapshot KeySnapshot
	want     []naiveKey
}

// someKey is one of a few, so that they come again.
func someKey(n int) (k Key) {
	binary.LittleEndian.PutUint64(k[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint32(k[8:], uint32(n)*0x85ebca6b)
	k[15] = 1
	return k
}

func (m *keysModel) Add(t *rapid.T) {
	for range rapid.SampledFrom([]int{1, 1, 2, 20, 1500}).Draw(t, "count") {
		m.pos += Position(1 + m.pos%3)
		m.at++
		k := someKey(int(m.pos) % 5000)
		if m.pos%2 == 0 {
			m.keys.Add(k, m.pos, m.at)
		} else if pos, ok := m.keys.FindOrAdd(k, m.at, m.at, m.pos, m.at); ok { // nothing has come in that second
			t.Fatalf("key of position %d is found at %d", m.pos, pos)
		} else if pos, ok := m.keys.FindOrAdd(k, m.at, m.at, m.pos+1, m.at); !ok || pos != m.pos {
			t.Fatalf("key of position %d, added just now, is found: %v at %d", m.pos, ok, pos)
		}
		m.list = append(m.list, naiveKey{k, m.pos, m.at})
	}
}

func (m *keysModel) DropOldest(t *rapid.T) {
	for range rapid.SampledFrom([]int{1, 5, 2000}).Draw(t, "count") {
		if _, _, ok := m.keys.Oldest(); !ok {
			return
		}
		if m.keys.DropOldest() {
			m.list = m.list[1:]
		}
	}
}

func (m *keysModel) DropNewest(t *rapid.T) {
	n := min(rapid.SampledFrom([]int{1, 5, 2000}).Draw(t, "count"), len(m.list))
	if m.keys.forgotten > 0 {
		return // only what was added just now is dropped so
	}
	m.keys.DropNewest(n)
	m.list = m.list[:len(m.list)-n]
}

func (m *keysModel) DropBelow(t *rapid.T) {
	if len(m.list) == 0 {
		return
	}
	pos := m.list[rapid.IntRange(0, len(m.list)-1).Draw(t, "at")].pos
	m.keys.DropBelow(pos)
	m.list = slices.DeleteFunc(m.list, func(k naiveKey) bool { return k.pos < pos })
}

func (m *keysModel) Forget(t *rapid.T) {
	if len(m.list) == 0 {
		return
	}
	first := m.list[rapid.IntRange(0, len(m.list)-1).Draw(t, "first")].pos
	r := Range{first, first + Position(rapid.IntRange(0, 3000).Draw(t, "length"))}
	m.keys.Forget(r)
	m.list = slices.DeleteFunc(m.list, func(k naiveKey) bool { return k.pos >= r.First && k.pos <= r.Last })
}

// Enter makes the index anew, as after a start.
func (m *keysModel) Enter(*rapid.T) { m.keys.enter() }

func (m *keysModel) Snapshot(*rapid.T) {
	last := m.pos - m.pos/4
	s := takenSnapshot{snapshot: m.keys.Snapshot(last)}
	for _, k := range m.list {
		if k.pos <= last {
			s.want = append(s.want, k)
		}
	}
	m.taken = append(m.taken, s)
}

func (m *keysModel) Check(t *rapid.T) {
	if m.keys.Len() != len(m.list) {
		t.Fatalf("%d keys, want %d", m.keys.Len(), len(m.list))
	}
	for i := 0; i < len(m.list); i += 1 + len(m.list)/20 {
		k := m.list[i]
		if pos, ok := m.keys.Find(k.key, k.at, k.at); !ok || pos != k.pos {
			t.Fatalf("key of position %d: found %v at %d", k.pos, ok, pos)
		}
	}
	for n := range 10 {
		k := someKey(n * 500)
		want := slices.ContainsFunc(m.list, func(e naiveKey) bool { return e.key == k })
		if _, ok := m.keys.Find(k, 0, m.at); ok != want {
			t.Fatalf("key %d is found: %v, want %v", n*500, ok, want)
		}
		if _, ok := m.keys.Find(k, m.at+1, m.at+2); ok {
			t.Fatalf("key %d is found in a time in which nothing came", n*500)
		}
	}
	for _, s := range m.taken {
		var got []naiveKey
		s.snapshot.Each(func(k Key, pos Position, at uint32) { got = append(got, naiveKey{k, pos, at}) })
		if !slices.Equal(got, s.want) {
			t.Fatalf("a snapshot of %d keys has %d now", len(s.want), len(got))
		}
	}
	m.taken = m.taken[max(0, len(m.taken)-1):]
}

// TestKeysModel: whatever is added, dropped and forgotten, a key is found when it should be and only then, and snapshots do not change.
func TestKeysModel(t *testing.T) {
	t.Run("near", checkKeys)
	t.Run("far", func(t *testing.T) { // most keys are farther from their homes than their entries can say
		defer func(bits int) { mostFarBits = bits }(mostFarBits)
		mostFarBits = 1
		checkKeys(t)
	})
}

func checkKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &keysModel{}
		t.Repeat(map[string]func(*rapid.T){"add": m.Add, "more": m.Add, "oldest": m.DropOldest, "newest": m.DropNewest, "below": m.DropBelow,
			"forget": m.Forget, "enter": m.Enter, "snapshot": m.Snapshot, "": m.Check})
	})
}

// TestMillionKeys: they take no more memory than is said, and give it back.
func TestMillionKeys(t *testing.T) {
	const count = 1_000_000
	var k Keys
	for n := range count {
		k.Add(someKey(n), Position(n+1), 7)
	}
	if n := k.Bytes(); n > 38_000_000 {
		t.Errorf("a million keys take %d bytes", n)
	}
	for n := range count {
		if pos, ok := k.Find(someKey(n), 7, 7); !ok || pos != Position(n+1) {
			t.Fatalf("key %d: %v at %d", n, ok, pos)
		}
	}
	if _, ok := k.Find(someKey(count), 0, 9); ok {
		t.Error("a key is found that was never added")
	}
	k.DropBelow(count - 99)
	if n := k.Bytes(); k.Len() != 100 || n > 2*chunkKeys*keyBytes+16*1024 {
		t.Errorf("%d keys take %d bytes", k.Len(), n)
	}
	k.DropBelow(count + 1)
	if n := k.Bytes(); n != 0 {
		t.Errorf("no keys take %d bytes", n)
	}
}

// TestSnapshotsAreReadMeanwhile: nobody waits for who writes them down.
func TestSnapshotsAreReadMeanwhile(t *testing.T) {
	var k Keys
	var wg sync.WaitGroup
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 20_000 {
		k.Add(someKey(n), Position(n+1), uint32(n))
		switch rng.IntN(500) {
		case 0:
			k.Forget(Range{Position(n), Position(n)})
		case 1:
			k.DropOldest()
		case 2:
			s := k.Snapshot(Position(n))
			want := s.next - s.first
			wg.Go(func() {
				got := uint64(0)
				s.Each(func(Key, Position, uint32) { got++ })
				if got > want || got+100 < want {
					t.Errorf("a snapshot of %d keys has %d", want, got)
				}
			})
		}
	}
	wg.Wait()
}

// TestNewKey: it depends on topic and text and on nothing else, and is never that of another pair.
func TestNewKey(t *testing.T) {
	seen := map[Key]string{}
	for _, topic := range []string{"orders", "order", "orders.x"} {
		for _, text := range []string{"a", "b", "a/0", "s\na", strings.Repeat("x", 256), strings.Repeat("x", 100_000)} {
			k := NewKey(topic, []byte(text))
			if other, ok := seen[k]; ok || k == (Key{}) {
				t.Errorf("%s %.10q has the key of %q", topic, text, other)
			}
			seen[k] = topic + " " + text
			if NewKey(topic, []byte(text)) != k {
				t.Errorf("%s %.10q has two keys", topic, text)
			}
		}
	}
	if (NewKey("orders", nil) != Key{}) {
		t.Error("an empty text has a key")
	}
}

func keyed(first, since Position, keys ...int) []byte {
	p := Publish{Topic: 1, First: first, Count: len(keys), Since: since, Keys: make([]Key, len(keys))}
	for i, n := range keys {
		if n > 0 {
			p.Keys[i] = someKey(n)
		}
	}
	return append(AppendPublish(nil, p), frames(1, len(keys))...)
}

// stateWithKeys has a topic without channels.
func stateWithKeys(t *testing.T, records ...[]byte) *State {
	t.Helper()
	s := NewState()
	for i, r := range append([][]byte{AppendChange(nil, Change{Op: OpCreateTopic, Topic: 1, Name: "orders"})}, records...) {
		kind := KindPublish
		if i == 0 {
			kind = KindChange
		}
		if len(r) > 4 && r[4] == 'V' {
			kind, r = KindVoid, append(slices.Clone(r[:4]), r[5:]...)
		}
		if err := s.Apply(Offset{Offset: int64(i)}, kind, r, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// voided is a Void with a mark, by which stateWithKeys knows it.
func voided(r Range) []byte {
	var runs Runs
	runs.BeginVoid(1)
	runs.AddRange(r)
	b := runs.Record()
	return append(append(slices.Clone(b[:4]), 'V'), b[4:]...)
}

// TestKeysOfRecords: a publish brings keys and says which are forgotten; a void forgets those of its messages, also when they come again.
func TestKeysOfRecords(t *testing.T) {
	second := KeySecond(1700000000000000000)
	for name, c := range map[string]struct {
		records [][]byte
		want    map[int]Position
	}{
		"all":                  {[][]byte{keyed(1, 1, 1, 0, 2), keyed(4, 1, 3)}, map[int]Position{1: 1, 2: 3, 3: 4}},
		"older are forgotten":  {[][]byte{keyed(1, 1, 1, 2, 3), keyed(4, 3, 4)}, map[int]Position{3: 3, 4: 4}},
		"all are forgotten":    {[][]byte{keyed(1, 1, 1, 2, 3), keyed(4, 4, 4)}, map[int]Position{4: 4}},
		"some of its own":      {[][]byte{keyed(1, 2, 1, 2, 3)}, map[int]Position{2: 2, 3: 3}},
		"void":                 {[][]byte{keyed(1, 1, 1, 2), keyed(3, 1, 3, 4), voided(Range{3, 4}), keyed(5, 1, 5)}, map[int]Position{1: 1, 2: 2, 5: 5}},
		"void, then again":     {[][]byte{keyed(1, 1, 1), voided(Range{1, 1}), keyed(2, 2, 1)}, map[int]Position{1: 2}},
		"again after its time": {[][]byte{keyed(1, 1, 1, 2), keyed(3, 3, 1)}, map[int]Position{1: 3}},
		"no sense":             {[][]byte{keyed(5, 1, 1), keyed(3, 1, 2)}, map[int]Position{1: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			s := stateWithKeys(t, c.records...)
			for _, s := range []*State{s, mustRead(t, Write(s))} {
				keys := &s.Topics[1].Keys
				if keys.Len() != len(c.want) {
					t.Errorf("%d keys, want %d", keys.Len(), len(c.want))
				}
				for n, pos := range c.want {
					if got, ok := keys.Find(someKey(n), second, second); !ok || got != pos {
						t.Errorf("key %d: %v at %d, want %d", n, ok, got, pos)
					}
				}
			}
		})
	}
}

func mustRead(t *testing.T, b []byte) *State {
	t.Helper()
	s, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestManyKeysInACheckpoint: they take more than one record, and come back.
func TestManyKeysInACheckpoint(t *testing.T) {
	s := stateWithKeys(t)
	for n := range 10_000 {
		s.Topics[1].Keys.Add(someKey(n), Position(n+1), 9)
	}
	got := mustRead(t, Write(s))
	for n := range 10_000 {
		if pos, ok := got.Topics[1].Keys.Find(someKey(n), 9, 9); !ok || pos != Position(n+1) {
			t.Fatalf("key %d: %v at %d", n, ok, pos)
		}
	}
}

// TestInvalidKeys are refused: a record without all its keys, and a checkpoint whose keys are in no order.
func TestInvalidKeys(t *testing.T) {
	whole := keyed(1, 1, 1, 2)
	if _, _, err := ParsePublish(whole[:publishSize+8+KeySize]); !errors.Is(err, ErrRecord) {
		t.Errorf("a record that ends in its keys: %v", err)
	}
	if _, _, err := ParsePublish(whole[:publishSize+3]); !errors.Is(err, ErrRecord) {
		t.Errorf("a record without keys: %v", err)
	}
	topic := &Topic{}
	entry := append(append(slices.Clone(someKeySlice(1)), 0, 0, 0, 0, 0, 0, 0, 5), 0, 0, 0, 1)
	if err := topic.readKeys(slices.Concat(entry, entry)); !errors.Is(err, ErrRecord) {
		t.Errorf("a position twice: %v", err)
	}
	if err := (&Topic{}).readKeys(make([]byte, keyBytes)); !errors.Is(err, ErrRecord) {
		t.Errorf("no key: %v", err)
	}
}

func someKeySlice(n int) []byte {
	k := someKey(n)
	return k[:]
}

func BenchmarkKeys(b *testing.B) {
	const most = 1_000_000
	b.Run("hash", func(b *testing.B) {
		text := []byte("0123456789abcdef")
		for b.Loop() {
			NewKey("orders", text)
		}
	})
	b.Run("full", func(b *testing.B) { // as many as are remembered: each lets one go
		var k Keys
		n := 0
		add := func() {
			if _, ok := k.FindOrAdd(someKey(n), 1, 1, Position(n+1), 1); ok {
				b.Fatal("it was there")
			}
			n++
		}
		for n < most {
			add()
		}
		for b.Loop() {
			add()
			k.DropOldest()
		}
	})
	b.Run("filling", func(b *testing.B) {
		var k Keys
		n := 0
		for b.Loop() {
			if n%most == 0 {
				k = Keys{}
			}
			k.FindOrAdd(someKey(n), 1, 1, Position(n+1), 1)
			n++
		}
	})
	b.Run("read", func(b *testing.B) {
		s := NewState()
		s.Topics[1] = &Topic{ID: 1, Name: "orders", Next: most + 1, Channels: []*Channel{newChannel(0, "")}}
		for n := range most {
			s.Topics[1].Keys.Add(someKey(n), Position(n+1), 1)
		}
		whole := Write(s)
		for b.Loop() {
			if _, err := read(whole); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/million")
	})
}
