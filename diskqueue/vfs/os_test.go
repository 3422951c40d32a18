package vfs

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestWriteAt: short and long writes bring the same bytes to the file, and the same errors.
func TestWriteAt(t *testing.T) {
	fs, name := OS(), filepath.Join(t.TempDir(), "f")
	f, err := fs.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, n := range []int{0, 1, 4096, 16 << 10, 16<<10 + 1, 3} {
		part := bytes.Repeat([]byte{byte(n)}, n)
		if got, err := f.WriteAt(part, int64(len(want))); got != n || err != nil {
			t.Fatalf("WriteAt of %d bytes: %d, %v", n, got, err)
		}
		want = append(want, part...)
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file holds something else, %v", err)
	}
	if _, err := f.WriteAt([]byte("x"), -1); err == nil {
		t.Error("a negative offset is accepted")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a closed file can be written to")
	}
}

// TestEveryCallIsToldToTheScheduler: no call that can reach a file system is a raw one: a frozen disk would hold the processor
// that it runs on, and with it the next garbage collection and everybody.
func TestEveryCallIsToldToTheScheduler(t *testing.T) {
	root := filepath.Join("..", "..")
	allowed := map[string]bool{ // calls that no file can hold up
		filepath.Join(root, "broker", "backlog", "populate_linux.go"): true, // memory of the process itself
		filepath.Join(root, "broker", "nowait", "socket_linux.go"):    true, // sockets that do not wait
		filepath.Join(root, "broker", "storage", "anchor_linux.go"):   true, // no descriptor at all, 10 ms
	}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" || allowed[path] {
			return err
		}
		parsed, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "RawSyscall") {
				t.Errorf("%s: a raw system call", files.Position(s.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFoldersThatCannotBeSynced: what is above a data folder may be of a file system that syncs no folders, or be somebody else's; any other failure counts.
func TestFoldersThatCannotBeSynced(t *testing.T) {
	for err, good := range map[error]bool{nil: true, syscall.EINVAL: true, syscall.EROFS: true, syscall.EACCES: true, syscall.ENOTSUP: true, syscall.EIO: false, syscall.ENOSPC: false} {
		for _, there := range []bool{true, false} {
			made := false
			got := mkdirAll("/above/data", func(dir string) (bool, error) { return there || dir != "/above/data", nil },
				func(string) error { made = true; return nil }, func(string) error { return err })
			if (got == nil) != good || !good && !errors.Is(got, err) || made == there && good {
				t.Errorf("a sync that says %v, the folder there: %v: %v, made: %v", err, there, got, made)
			}
		}
	}
}
