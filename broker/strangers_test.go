//go:build unix

package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"brokerd/broker"
	"brokerd/broker/storage"
)

// strangers are what may stand in the place of a file, by name. Each has the file's content where that can be read through it.
var strangers = map[string]func(path, was string) error{
	"a link":         func(path, was string) error { return os.Symlink(was, path) },
	"a dangling one": func(path, _ string) error { return os.Symlink("nowhere", path) },
	"a folder":       func(path, _ string) error { return os.MkdirAll(filepath.Join(path, "full"), 0o755) },
	"a named pipe":   func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
}

// TestWhatIsNoFile: a link, a folder or a pipe in the place of any file of the folder is never followed, and holds up nothing. A start
// serves all, or refuses, names it and changes nothing; a repair puts it aside, and goes on without the file.
func TestWhatIsNoFile(t *testing.T) {
	t.Parallel()
	o := killedBacklog(t)
	for _, pattern := range []string{"manifest", "brokerd.ids", "nsqd.dat", "checkpoint.*", "journal/*.wal", "segments/*/*.seg"} {
		found, err := filepath.Glob(filepath.Join(o.DataPath, pattern))
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, found, err)
		}
		for kind, put := range strangers {
			t.Run(fmt.Sprintf("%s is %s", strings.ReplaceAll(pattern, "/", "-"), kind), func(t *testing.T) {
				t.Parallel()
				rel, err := filepath.Rel(o.DataPath, found[len(found)-1])
				if err != nil {
					t.Fatal(err)
				}
				replaced(t, o, rel, put)
			})
		}
	}
}

// replaced has something else stand in the place of one file of a copy of a folder.
func replaced(t *testing.T, o broker.Options, rel string, put func(path, was string) error) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(o.DataPath)); err != nil {
		t.Fatal(err)
	}
	o.DataPath = dir
	path, was := filepath.Join(dir, rel), filepath.Join(t.TempDir(), "was")
	if err := errors.Join(os.Rename(path, was), put(path, was)); err != nil {
		t.Fatal(err)
	}
	mode := func() os.FileMode { i, _ := os.Lstat(path); return i.Mode() }
	before := mode()
	var checked, said bytes.Buffer
	checkErr := broker.Check(dir, &checked, nil)
	err := refusal(t, o)
	if err == nil { // there is a copy of what it said
		if rel != "brokerd.ids" {
			t.Fatalf("a start serves with %v in the place of %s", before, rel)
		}
		whole(t, o, 1)
		return
	}
	if !strings.Contains(err.Error(), rel) || !strings.Contains(checked.String()+fmt.Sprint(checkErr), rel) {
		t.Errorf("%s is not named by the start: %v\nor by check: %v\n%s", rel, err, checkErr, checked.String())
	}
	if rel != "nsqd.dat" && (!errors.Is(err, storage.ErrIncomplete) || !errors.Is(checkErr, storage.ErrIncomplete)) {
		t.Errorf("start: %v; check: %v", err, checkErr)
	}
	if mode() != before {
		t.Fatal("a start that refuses has changed the folder")
	}
	if err := broker.Repair(dir, true, &said, nil); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if !strings.Contains(said.String(), "given up: ") || !strings.Contains(said.String(), rel) {
		t.Errorf("repair says %s", said.String())
	}
	n := startWith(t, o)
	servesAsSaid(t, n, said.String())
	n.stop()
}

// TestWhatIsNoFolder: a file or a pipe where a folder of the log or of segments belongs refuses a start, which names it, says what to do and changes nothing,
// and is not waited for. A repair puts it aside; with it goes only what the folder held.
func TestWhatIsNoFolder(t *testing.T) {
	t.Parallel()
	o := killedBacklog(t)
	kinds := map[string]func(path string) error{
		"a file":       func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) },
		"a named pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
	}
	for _, rel := range []string{"segments/7", "segments/g01.001", "segments/g01.001/3", "segments", "journal"} {
		for kind, put := range kinds {
			t.Run(fmt.Sprintf("%s is %s", strings.ReplaceAll(rel, "/", "-"), kind), func(t *testing.T) {
				t.Parallel()
				o, from := o, o.DataPath
				o.DataPath = filepath.Join(t.TempDir(), "data")
				path := filepath.Join(o.DataPath, rel)
				if err := errors.Join(os.CopyFS(o.DataPath, os.DirFS(from)), os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o755), put(path)); err != nil {
					t.Fatal(err)
				}
				noFolder(t, o, path)
				if strings.HasPrefix(rel, "segments/") {
					whole(t, o, 1)
				}
			})
		}
	}
}

// noFolder has a start and a check refuse for what stands at path, and repairs the folder.
func noFolder(t *testing.T, o broker.Options, path string) {
	t.Helper()
	var checked, said bytes.Buffer
	want := path + " is no folder, and one belongs there: move it elsewhere"
	if err := refusal(t, o); !errors.Is(err, storage.ErrIncomplete) || !strings.Contains(err.Error(), want) {
		t.Errorf("start: %v", err)
	}
	if err := broker.Check(o.DataPath, &checked, nil); !errors.Is(err, storage.ErrIncomplete) || !strings.Contains(checked.String()+err.Error(), want) {
		t.Errorf("check: %v\n%s", err, checked.String())
	}
	if i, err := os.Lstat(path); err != nil || i.IsDir() {
		t.Fatalf("a start that refuses has changed the folder: %v, %v", i, err)
	}
	if err := broker.Repair(o.DataPath, true, &said, nil); err != nil || !strings.Contains(said.String(), want) {
		t.Fatalf("repair: %v\n%s", err, said.String())
	}
	n := startWith(t, o)
	servesAsSaid(t, n, said.String())
	n.stop()
}
