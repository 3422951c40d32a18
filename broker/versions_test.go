package broker_test

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/broker/storage"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
)

// TestFoldersOfNewerBuilds: a folder that uses what this build does not know is refused by a start and by each verb that works on a
// stopped broker, before anything in it is touched; the text says what it needs, and no option has to be switched before. That each kind of file
// of a newer format is known is tested where the files are.
func TestFoldersOfNewerBuilds(t *testing.T) {
	o, _ := backlog(t)
	m, _, err := manifest.Read(vfs.OS(), o.DataPath)
	if err != nil {
		t.Fatal(err)
	}
	m.Needs = []string{"something-new"}
	if err := manifest.Write(vfs.OS(), o.DataPath, &m); err != nil {
		t.Fatal(err)
	}
	before := contents(t, o.DataPath)
	var said bytes.Buffer
	for what, err := range map[string]error{
		"start": refusal(t, o), "check": broker.Check(o.DataPath, &said, nil), "repair": broker.Repair(o.DataPath, true, &said, nil),
		"export": broker.Export(o.DataPath, filepath.Join(t.TempDir(), "out"), false, &said, nil),
	} {
		if !errors.Is(err, storage.ErrVersion) || !strings.Contains(err.Error(), `it uses the feature "something-new": start the newer brokerd that wrote it`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !maps.Equal(before, contents(t, o.DataPath)) {
		t.Error("the folder was changed")
	}
	m.Needs = nil
	if err := manifest.Write(vfs.OS(), o.DataPath, &m); err != nil {
		t.Fatal(err)
	}
	if got := startWith(t, o).channel("t", "c"); got.Depth+int64(got.DeferredCount) != 1999+1 {
		t.Errorf("after the refusals %d messages wait and %d are deferred", got.Depth, got.DeferredCount)
	}
}

// TestAFolderNeedsOnlyWhatIsUsed: the manifest names a feature once it is used and not before, so that the way back to a build that does not
// know it stays open until then, without anybody having to switch anything.
func TestAFolderNeedsOnlyWhatIsUsed(t *testing.T) {
	o, _ := backlog(t) // overflow, deferred messages, a pause, two levels
	needs := func() []string {
		t.Helper()
		m, found, err := manifest.Read(vfs.OS(), o.DataPath)
		if err != nil || !found {
			t.Fatalf("no manifest: %v", err)
		}
		slices.Sort(m.Needs)
		return m.Needs
	}
	if got := needs(); len(got) > 0 {
		t.Errorf("a folder that uses nothing new needs %q", got)
	}
	n := startWith(t, o)
	n.publish("plain", "x")
	n.post("/topic/config?topic=plain", `{"durability":"fsync"}`)
	n.stop()
	if got := needs(); len(got) > 0 {
		t.Errorf("a topic's level needs %q", got)
	}
	n = startWith(t, o)
	n.post("/topic/create?topic=dead", "")
	n.post("/topic/create?topic=work", "")
	n.post("/channel/create?topic=work&channel=c", "")
	n.post("/channel/config?topic=work&channel=c", `{"max_attempts":1,"dead_letter":"dead"}`)
	n.post("/pub?topic=work&ttl=1m", "short")
	n.publish("work", "bad")
	c := n.subscribe("work", "c", 2)
	for range 2 {
		c.Send("REQ " + c.Next().Message().ID + " 0\n")
	}
	eventually(t, "both are dead letters", func() bool { return n.topic("dead").Depth == 2 })
	n.stop()
	if got, want := needs(), []string{"expiry", "moved", "options", "properties"}; !slices.Equal(got, want) {
		t.Errorf("times to live, options and dead letters need %q, want %q", got, want)
	}
}
