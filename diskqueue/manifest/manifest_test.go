package manifest

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
)

var update = flag.Bool("update", false, "write golden files anew")

func example() Manifest {
	return Manifest{
		Needs:  []string{"keys"},
		Folder: ID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		NodeID: 1023, Starts: 7, IDs: 1<<54 - 1,
		Log: Log{Seen: 2041, Limit: 3000, End: &Offset{File: 2041, Offset: 77}},
		Checkpoints: []Checkpoint{
			{Number: 12, Size: 1 << 40, Sum: 0xffffffff, From: Offset{File: 2041, Offset: 64}},
			{Number: 11, Size: 40, Sum: 1, From: Offset{File: 2039, Offset: 99}},
		},
	}
}

// TestGolden: the bytes do not change. Where they have to, it is another version.
func TestGolden(t *testing.T) {
	m := example()
	got, name := m.Append(nil), filepath.Join("testdata", "golden-1")
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	parsed, err := Parse(want)
	if err != nil || !reflect.DeepEqual(parsed, m) {
		t.Errorf("parsed: %+v, %v", parsed, err)
	}
}

// TestParseRefuses: what is no manifest of this version is told apart by why.
func TestParseRefuses(t *testing.T) {
	m := example()
	good := string(m.Append(nil))
	with := func(change func(*Manifest)) string {
		m := example()
		change(&m)
		return string(m.Append(nil))
	}
	for _, tt := range []struct {
		name, content string
		want          error
	}{
		{"empty", "", ErrDamaged},
		{"zeros", strings.Repeat("\x00", 100), ErrDamaged},
		{"cut", good[:len(good)/2], ErrDamaged},
		{"one bit", strings.Replace(good, "1023", "1022", 1), ErrDamaged},
		{"no line", strings.Replace(good, "\n", " ", 1), ErrDamaged},
		{"sum that is no number", strings.Replace(good, "crc32c ", "crc32c x", 1), ErrDamaged},
		{"next version", strings.Replace(good, "manifest 1 ", "manifest 2 ", 1), ErrVersion},
		{"next version, line of another form", "brokerd manifest 2\nanything", ErrVersion},
		{"version 0", strings.Replace(good, "manifest 1 ", "manifest 0 ", 1), ErrDamaged},
		{"no folder", with(func(m *Manifest) { m.Folder = ID{} }), ErrDamaged},
		{"seen at the limit", with(func(m *Manifest) { m.Log.Seen = m.Log.Limit }), ErrDamaged},
		{"end at the limit", with(func(m *Manifest) { m.Log.End.File = m.Log.Limit }), ErrDamaged},
		{"three checkpoints", with(func(m *Manifest) { m.Checkpoints = append(m.Checkpoints, Checkpoint{}) }), ErrDamaged},
		{"checkpoints in the wrong order", with(func(m *Manifest) { m.Checkpoints[0].Number = 1 }), ErrDamaged},
	} {
		if _, err := Parse([]byte(tt.content)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestName: the newest two checkpoints stay.
func TestName(t *testing.T) {
	var m Manifest
	for n := uint64(1); n < 5; n++ {
		m.Name(Checkpoint{Number: n})
	}
	if len(m.Checkpoints) != 2 || m.Checkpoints[0].Number != 4 || m.Checkpoints[1].Number != 3 {
		t.Errorf("%+v", m.Checkpoints)
	}
}

// TestWriteIsWholeOrNot: whatever fails, and when the power goes, the manifest is the old or the new one, and the new one for
// certain once Write has returned nil.
func TestWriteIsWholeOrNot(t *testing.T) {
	for _, op := range []vfs.Op{0, vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir, vfs.OpRemove} {
		for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENOMEM} {
			for seed := range uint64(20) {
				mem := vfs.NewMem()
				if err := mem.MkdirAll("data"); err != nil {
					t.Fatal(err)
				}
				m := example()
				if err := Write(mem, "data", &m); err != nil {
					t.Fatal(err)
				}
				faulty := vfs.NewFaulty(mem, vfs.Rule{Ops: op, Times: 1, Err: errno, Short: 9})
				m.Starts++
				err := Write(faulty, "data", &m)
				if (err == nil) != (op == 0) || err != nil && !errors.Is(err, errno) {
					t.Fatalf("op %b with %v: %v", op, errno, err)
				}
				clone := mem.CrashClone(rand.New(rand.NewPCG(seed, 0)))
				got, found, readErr := Read(clone, "data")
				if readErr != nil || !found || got.Starts != m.Starts && (got.Starts != m.Starts-1 || err == nil) {
					t.Fatalf("op %b with %v, seed %d: %+v, %v, %v", op, errno, seed, got, found, readErr)
				}
			}
		}
	}
}

// TestReadNothing: no manifest is no error.
func TestReadNothing(t *testing.T) {
	if _, found, err := Read(vfs.NewMem(), "/"); found || err != nil {
		t.Error(found, err)
	}
}

func FuzzParse(f *testing.F) {
	m := example()
	f.Add(m.Append(nil))
	f.Add([]byte("brokerd manifest 2\n{}"))
	f.Add([]byte("brokerd manifest 1 crc32c 00000000\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		again, err := Parse(m.Append(nil))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v becomes %+v, %v", m, again, err)
		}
	})
}
