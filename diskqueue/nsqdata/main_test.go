package nsqdata

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/protocol"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const testMaxBody = 1000

// logLines collects what a queue logs.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) logf(level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+fmt.Sprintf(format, args...))
}

func (l *logLines) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		found := true
		for _, p := range parts {
			found = found && strings.Contains(line, p)
		}
		if found {
			return true
		}
	}
	return false
}

func testOptions(dir string) QueueOptions {
	return QueueOptions{
		Dir: dir, MaxBytesPerFile: 1 << 20,
		MinMsgSize: RecordHeaderSize, MaxMsgSize: RecordHeaderSize + testMaxBody,
		SyncEvery: 1 << 20, SyncTimeout: time.Hour,
	}
}

func mustOpen(t testing.TB, name string, o QueueOptions) *Queue {
	t.Helper()
	q, err := Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func record(id int, body string) []byte {
	return AppendRecord(nil, int64(1000+id), uint16(id), protocol.MessageID(id), []byte(body))
}

func mustPut(t testing.TB, q *Queue, from, to int, body string) {
	t.Helper()
	for id := from; id < to; id++ {
		if err := q.Put(record(id, body)); err != nil {
			t.Fatal(err)
		}
	}
}

// takeIDs takes up to n records and returns their ids.
func takeIDs(t testing.TB, q *Queue, n int) (ids []int) {
	t.Helper()
	got, err := q.Take(n, 0, func(b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			t.Error(err)
		}
		ids = append(ids, int(r.ID))
	})
	if err != nil || got != len(ids) {
		t.Fatalf("Take = %d, %v with %d records", got, err, len(ids))
	}
	return ids
}

// wantIDs takes everything and expects the ids from, from+1, ... to-1.
func wantIDs(t testing.TB, q *Queue, from, to int) {
	t.Helper()
	ids := takeIDs(t, q, 1<<20)
	if len(ids) != to-from {
		t.Fatalf("took %d records, want %d", len(ids), to-from)
	}
	for i, id := range ids {
		if id != from+i {
			t.Fatalf("record %d has id %d, want %d", i, id, from+i)
		}
	}
	if d := q.Depth(); d != 0 {
		t.Fatalf("Depth = %d when all is taken", d)
	}
}

// snapshot copies a folder as it is: what a killed process leaves. A queue that is open may rename a file meanwhile; then it is
// copied anew.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	for {
		to := t.TempDir()
		err := os.CopyFS(to, os.DirFS(dir))
		if err == nil {
			return to
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func fileNames(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// framed is a record as it is in a data file.
func framed(record []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(record))), record...)
}

// goldenFolder writes the files that testdata/nsqd-folder.txt describes into a folder.
func goldenFolder(t testing.TB) string {
	t.Helper()
	dir, name := t.TempDir(), ""
	files := map[string][]byte{}
	for _, line := range strings.Split(string(read(t, "testdata", "nsqd-folder.txt")), "\n") {
		switch {
		case strings.HasPrefix(line, "-- "):
			name = strings.Trim(line, "- ")
		case name == "" || line == "":
		case line[0] == '"':
			files[name] = append(files[name], strings.ReplaceAll(line[1:len(line)-1], `\n`, "\n")...)
		default:
			b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = append(files[name], b...)
		}
	}
	for name, data := range files {
		write(t, dir, name, data)
	}
	return dir
}
