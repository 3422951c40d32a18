package segment

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"brokerd/diskqueue/vfs"
)

// model is a store beside the list of what it must hold.
type model struct {
	fs   countingFS
	o    Options
	s    *Store
	next uint64
	all  []Block // appended
	live []Block // and not dropped

	whole map[uint32]int64 // files that are needed as a whole, with their sizes
}

func (m *model) open(t *rapid.T) {
	m.o.Whole = maps.Clone(m.whole)
	s, blocks, damage, err := Open(m.o)
	if err != nil || damage != nil {
		t.Fatal(err, damage)
	}
	for _, b := range m.live {
		if _, whole := m.whole[b.Ref.File]; whole == contains(blocks, b) || whole != s.IsWhole(b.Ref.File) {
			t.Fatalf("%+v is found: %v", b, !whole)
		}
	}
	for _, b := range blocks {
		if !contains(m.all, b) {
			t.Fatalf("%+v was not appended", b)
		}
		if !contains(m.live, b) {
			_ = s.Drop(b.Ref) // as its owner would, who knows
		}
	}
	m.s = s
}

func (m *model) append(t *rapid.T) {
	m.next += uint64(rapid.IntRange(0, 5).Draw(t, "gap"))
	count := rapid.SampledFrom([]int{1, 2, 5, 20, 100}).Draw(t, "count")
	ref, err := m.s.Append(m.next, count, messages(m.next, count))
	if err != nil {
		t.Fatal(err)
	}
	b := Block{First: m.next, Count: uint32(count), Ref: ref}
	m.next += uint64(count)
	m.all, m.live = append(m.all, b), append(m.live, b)
}

func (m *model) pick(t *rapid.T) int {
	if len(m.live) == 0 {
		t.Skip("nothing there")
	}
	return rapid.IntRange(0, len(m.live)-1).Draw(t, "which")
}

func (m *model) drop(t *rapid.T) {
	i := m.pick(t)
	ref := m.live[i].Ref
	if _, whole := m.whole[ref.File]; whole {
		if err := m.s.Drop(ref); !errors.Is(err, ErrGone) {
			t.Fatalf("a block was dropped of a file that is needed as a whole: %v", err)
		}
		if err := m.s.Drop(Ref{File: ref.File}); err != nil {
			t.Fatal(err)
		}
		m.live = slices.DeleteFunc(m.live, func(b Block) bool { return b.Ref.File == ref.File })
		delete(m.whole, ref.File)
		return
	}
	if err := m.s.Drop(ref); err != nil {
		t.Fatal(err)
	}
	m.live = slices.Delete(m.live, i, i+1)
}

// join has a file be needed as a whole, if that can be.
func (m *model) join(t *rapid.T) {
	file := m.live[m.pick(t)].Ref.File
	count := 0
	for _, b := range m.live {
		if b.Ref.File == file {
			count++
		}
	}
	if m.s.Join(file, count+1) {
		t.Fatal("a file is joined of which more is needed than it has")
	}
	if m.s.Join(file, count) {
		m.whole[file] = m.s.Size(file)
	}
}

func (m *model) read(t *rapid.T) {
	b := m.live[m.pick(t)]
	if _, whole := m.whole[b.Ref.File]; whole {
		if blocks, err := m.s.Blocks(b.Ref.File); err != nil || !contains(blocks, b) {
			t.Fatalf("%+v is not among the blocks of its file: %v", b, err)
		}
	}
	frames, lost, err := m.s.Read(b, make([]byte, 0, rapid.IntRange(0, 5000).Draw(t, "cap")))
	if err != nil || lost != nil || !bytes.Equal(frames, messages(b.First, int(b.Count))) {
		t.Fatalf("%+v: other frames, lost %v, %v", b, lost, err)
	}
	nth := rapid.IntRange(0, int(b.Count)-1).Draw(t, "message")
	seq := b.First + uint64(nth)
	f, err := m.s.ReadFrame(b.Ref, uint32(len(messages(b.First, nth))), seq, nil)
	if err != nil || !bytes.Equal(f, message(seq)) {
		t.Fatalf("message %d: %v", seq, err)
	}
}

// check is what holds after every operation.
func (m *model) check(t *rapid.T) {
	if n := m.fs.open.Load(); n > 1+maxUnsynced+maxReaders {
		t.Fatalf("%d files are open", n)
	}
	list, err := m.fs.List(testDir)
	if err != nil {
		return // not made yet
	}
	needed := make(map[string]bool)
	for _, b := range m.live {
		needed[FileName(b.Ref.File)] = true
	}
	extra := 0
	for _, name := range list {
		if !needed[name] {
			extra++
		}
	}
	if extra > 1 || len(list)-extra != len(needed) {
		t.Fatalf("files are %v, needed are %v", list, needed)
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := vfs.NewMem()
		m := &model{fs: counting(mem), whole: map[uint32]int64{}}
		m.o = Options{FS: m.fs, Dir: testDir, FileSize: int64(rapid.SampledFrom([]int{1, 1000, 10000, 0}).Draw(t, "file size"))}
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"":       m.check,
			"append": m.append,
			"drop":   m.drop,
			"join":   m.join,
			"read":   m.read,
			"sync": func(t *rapid.T) {
				if err := m.s.Sync(); err != nil {
					t.Fatal(err)
				}
			},
			"release": func(t *rapid.T) {
				if err := m.s.Release(); err != nil || m.fs.open.Load() != 0 {
					t.Fatal(err, m.fs.open.Load())
				}
			},
			"reopen": func(t *rapid.T) {
				if err := m.s.Close(); err != nil {
					t.Fatal(err)
				}
				m.open(t)
			},
		})
		if err := errors.Join(m.s.Close(), m.s.RemoveAll()); err != nil || mem.Used() != 0 {
			t.Fatal(err, mem.Used())
		}
	})
}
