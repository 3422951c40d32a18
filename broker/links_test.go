package broker_test

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/broker"
)

// TestLinksInTheDataFolderAreNotFollowed: whoever can write into the folder cannot have the broker read, quote or write another file:
// each file that a start reads is refused when it is a link, whole or not, and what the link leads to is not in the error.
func TestLinksInTheDataFolderAreNotFollowed(t *testing.T) {
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
	looked := 0
	err := filepath.WalkDir(o.DataPath, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		looked++
		for _, target := range []string{secret, path + ".moved"} {
			if err := os.Rename(path, path+".moved"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			s, err := broker.New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
			if err != nil {
				t.Fatal(err)
			}
			if err = s.Start(t.Context()); err == nil { // a file that is made anew, or set aside
				if e := s.Shutdown(context.Background()); e != nil {
					t.Error(e)
				}
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s as a link: the error quotes what it leads to: %v", path, err)
			}
			if filepath.Base(path) == "brokerd.ids" || filepath.Base(path) == "nsqd.dat" {
				if err == nil || !strings.Contains(err.Error(), "links are not followed") {
					t.Errorf("%s as a link: %v", path, err)
				}
			}
			if text, err := os.ReadFile(secret); err != nil || string(text) != "root:hunter2:0:0\n" {
				t.Fatalf("%s as a link: what it leads to was changed to %q, %v", path, text, err)
			}
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := os.Rename(path+".moved", path); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	})
	if err != nil || looked < 3 {
		t.Errorf("looked at %d files, %v", looked, err)
	}
}
