//go:build unix

package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/diskqueue/vfs"
)

// TestQueueFilesThatAreNoFiles: whatever stands in the place of a file of a queue in nsqd's layout, or where the next one will be written, is not
// followed and holds up nothing: neither where the queue is used nor where it is taken over. The start refuses, names it and changes nothing.
func TestQueueFilesThatAreNoFiles(t *testing.T) {
	o := options(t)
	o.Durability, o.MemQueueSize = 0, 0
	folder := o.DataPath
	n := startWith(t, o)
	n.post("/topic/create?topic=t", "")
	n.post("/channel/create?topic=t&channel=c", "")
	n.publish("t", "a", "b")
	n.stop()
	for _, rel := range []string{"t:c.diskqueue.000000.dat", "t:c.diskqueue.000001.dat", "t:c.diskqueue.meta.dat"} {
		for kind, put := range strangers {
			t.Run(fmt.Sprintf("%s is %s", strings.ReplaceAll(rel, ":", "-"), kind), func(t *testing.T) {
				o := o
				o.DataPath = filepath.Join(t.TempDir(), "data")
				if err := os.CopyFS(o.DataPath, os.DirFS(folder)); err != nil {
					t.Fatal(err)
				}
				path, was := filepath.Join(o.DataPath, rel), filepath.Join(t.TempDir(), "was")
				if err := os.Rename(path, was); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				if err := put(path, was); err != nil {
					t.Fatal(err)
				}
				before, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				for _, level := range []broker.Durability{0, levelDisk} {
					o.Durability = level
					if err := refusal(t, o); !errors.Is(err, vfs.ErrNotPlain) || !strings.Contains(err.Error(), rel) {
						t.Fatalf("a start at level %v: %v", level, err)
					}
				}
				var said bytes.Buffer
				if err := broker.Check(o.DataPath, &said, nil); err == nil || !strings.Contains(said.String(), rel) {
					t.Errorf("check finds nothing: %s", said.String())
				}
				if err := broker.Export(o.DataPath, filepath.Join(t.TempDir(), "out"), false, &said, nil); !errors.Is(err, vfs.ErrNotPlain) {
					t.Errorf("export: %v", err)
				}
				if after, err := os.Lstat(path); err != nil || after.Mode() != before.Mode() {
					t.Errorf("what stood there has changed: %v, %v", after, err)
				}
			})
		}
	}
}
