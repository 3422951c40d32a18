package broker_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinksInTheDataFolderAreNotFollowed: whoever can write into the folder cannot have the broker read, quote or write another file:
// each file that a start reads is refused when it is a link, whole or not, and what the link leads to is not in the error.
func TestLinksInTheDataFolderAreNotFollowed(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	n.post("/topic/create?topic=t", "")
	n.post("/channel/create?topic=t&channel=c", "")
	n.publish("t", "a", "b")
	n.stop()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("root:hunter2:0:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []string
	err := filepath.WalkDir(o.DataPath, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			rel, _ := filepath.Rel(o.DataPath, path)
			all = append(all, rel)
		}
		return err
	})
	if err != nil || len(all) < 3 {
		t.Fatal(all, err)
	}
	for _, rel := range all {
		for _, whole := range []bool{false, true} {
			o := o
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(o.DataPath)); err != nil {
				t.Fatal(err)
			}
			o.DataPath = dir
			path, target := filepath.Join(dir, rel), secret
			moved := filepath.Join(t.TempDir(), "moved")
			if whole {
				target = moved
			}
			if err := errors.Join(os.Rename(path, moved), os.Symlink(target, path)); err != nil {
				t.Fatal(err)
			}
			err := refusal(t, o) // none for a file that is made anew or set aside, or of which there is a copy
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s as a link: the error quotes what it leads to: %v", rel, err)
			}
			if rel == "nsqd.dat" && (err == nil || !strings.Contains(err.Error(), "links are not followed")) {
				t.Errorf("%s as a link: %v", rel, err)
			}
			if text, err := os.ReadFile(secret); err != nil || string(text) != "root:hunter2:0:0\n" {
				t.Fatalf("%s as a link: what it leads to was changed to %q, %v", rel, text, err)
			}
		}
	}
}
