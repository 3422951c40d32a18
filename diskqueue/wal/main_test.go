package wal

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"brokerd/cmd/leaktest"
	"brokerd/diskqueue/vfs"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const testDir = "/log"

// entry is an Entry that may be kept.
type entry struct {
	pos  Offset
	kind byte
	data string
}

func (e entry) String() string {
	return fmt.Sprintf("%v kind %d %d bytes %.20q", e.pos, e.kind, len(e.data), e.data)
}

func collect(into *[]entry) func(Entry) error {
	return func(e Entry) error {
		*into = append(*into, entry{e.At, e.Kind, string(e.Data)})
		return nil
	}
}

func testOptions(fs vfs.FS) Options { return Options{FS: fs, Dir: testDir, FileSize: 4096} }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a log and returns what it replayed.
func open(t testing.TB, o Options) (*Log, []entry, Report) {
	t.Helper()
	var got []entry
	l, report, err := Open(o, collect(&got))
	ok(t, err)
	return l, got, report
}

// read reads a folder and returns what is in its log.
func read(t testing.TB, fs vfs.FS) ([]entry, Report) {
	t.Helper()
	var got []entry
	report, err := Read(fs, testDir, Need{}, collect(&got))
	ok(t, err)
	return got, report
}

// put appends a record and returns it as it should be read.
func put(t testing.TB, l *Log, kind byte, data string) entry {
	t.Helper()
	at, err := l.Append(kind, []byte(data))
	ok(t, err)
	return entry{at, kind, data}
}

// fill appends and commits n records of a size.
func fill(t testing.TB, l *Log, n, size int, level Level) []entry {
	t.Helper()
	var made []entry
	for i := range n {
		e := put(t, l, byte(1+i%MaxKind), string(bytes.Repeat([]byte{byte('a' + i%26)}, size)))
		ok(t, l.Commit(e.pos, level))
		made = append(made, e)
	}
	return made
}

func same(t testing.TB, got, want []entry) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%d records, wanted %d:\n%v\nwanted\n%v", len(got), len(want), got, want)
	}
}

// counter counts operations. While a started log may be at work countMu guards it.
type counter map[vfs.Op]int

var countMu sync.Mutex

func counting(fs vfs.FS) (*vfs.Faulty, counter) {
	c := make(counter)
	f := vfs.NewFaulty(fs)
	f.Observe(func(op vfs.Op, _ string) {
		countMu.Lock()
		defer countMu.Unlock()
		c[op]++
	})
	return f, c
}
