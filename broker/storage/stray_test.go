package storage

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// strays are files that people and their tools leave in a folder: copies under names that look much like the broker's own.
var strays = []string{"checkpoint.1", "checkpoint.0000001", "checkpoint.000001.bak", "checkpoint.g00.1", "checkpoint.old", "manifest~", "manifest.bak", "lost+found/x",
	".snapshot/checkpoint.000001", "journal/1.wal", "journal/0000000000000001.wal~", "journal/.nfs0001", "journal/old/0000000000000001.wal", "segments/README", "segments/007/000001.seg",
	"segments/007.bak/000001.seg", "segments/1/1.seg", "segments/1/000001.seg~", "segments/g0.1/1/000001.seg", "segments/g01.001/README", "segments/99999999999/000001.seg", "set-aside/mine"}

// TestStraysStay: what is nobody's stays where it is, as it is, and keeps nobody from putting aside or removing what is to be, through kills and stops.
func TestStraysStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		const unknown = "segments/77/000001.seg" // of a topic that nobody knows
		for _, name := range append(strays, unknown) {
			if err := n.fs.MkdirAll("data/" + filepath.Dir(name)); err != nil {
				t.Fatal(err)
			}
			f, err := n.fs.Create("data/" + name)
			if err == nil {
				_, err = f.WriteAt([]byte("mine"), 0)
			}
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		check := func(when string) {
			t.Helper()
			for _, name := range strays {
				if got := n.contents()["data/"+name]; got != "mine" {
					t.Errorf("%s: of %s there is %q", when, name, got)
				}
			}
		}
		for range 3 {
			n.backlog("t0", 200) // which overflows
			for range 4 {
				if err := n.k.checkpoint(0); err != nil {
					t.Fatal(err)
				}
			}
			check("behind checkpoints")
			n.kill()
			time.Sleep(5 * time.Second)
			check("behind a kill")
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
			n.start()
		}
		to := n.r.Lookup("t0")
		for _, c := range to.Channels() {
			if c.Stats().Depth != 600 {
				t.Errorf("%d messages are there", c.Stats().Depth)
			}
		}
		if is := n.contents()["data/"+asideFolder+"/"+unknown]; is != "mine" {
			t.Errorf("%s was not put aside: %q", unknown, is)
		}
		if err := n.r.DeleteTopic("t0"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		check("behind the end of a topic")
		for path := range n.tree() {
			if name, is := strings.CutPrefix(path, "data/segments/"); is && !slices.Contains(strays, "segments/"+name) {
				t.Errorf("%s is left", path)
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
