package roster

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
)

var quiet = slog.New(slog.DiscardHandler)

func some() []cluster.Kept {
	return []cluster.Kept{{Address: "a:4151", IsBroker: true, At: time.UnixMilli(1700000000123),
		Producer: httpapi.Producer{BroadcastAddress: "a", Hostname: "host-a", TCPPort: 4150, HTTPPort: 4151, Version: "1.3.0", TopologyZone: "z", TopologyRegion: "r"},
		Topics: []httpapi.Topic{{TopicName: "orders", Depth: 3, BackendDepth: 1, MessageCount: 9, Paused: true, Channels: []httpapi.Channel{
			{ChannelName: "billing", Depth: 5, BackendDepth: 2, InFlightCount: 1, DeferredCount: 4, MessageCount: 8, Paused: true}}}}},
		{Address: "b:4151", At: time.UnixMilli(1700000001000)}}
}

// TestWhatIsWrittenIsRead, by a new admind, whole.
func TestWhatIsWrittenIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	r, kept, err := Open(path, quiet)
	if err != nil || kept != nil {
		t.Fatalf("a new file: %v, %v", kept, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made before it was to be: %v", err)
	}
	if err := r.Begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("it was not written at once: %v", err)
	}
	if err := r.write(some()); err != nil {
		t.Fatal(err)
	}
	if _, kept, err = Open(path, quiet); err != nil || !reflect.DeepEqual(kept, some()) {
		t.Errorf("read  %+v\nwrote %+v\nerror %v", kept, some(), err)
	}
	if state, err := os.Stat(path); err != nil || state.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", state.Mode(), err)
	}
	if files, err := filepath.Glob(path + "*"); err != nil || len(files) != 1 {
		t.Errorf("left %q, error %v", files, err)
	}
}

// TestWhatCannotBeUnderstoodIsPutAside, and is not lost.
func TestWhatCannotBeUnderstoodIsPutAside(t *testing.T) {
	for name, text := range map[string]string{
		"half":       `{"format":"admind-roster","version":1,"brok`,
		"newer":      `{"format":"admind-roster","version":2,"brokers":[]}`,
		"other":      `{"name":"something else"}`,
		"empty":      ``,
		"no address": `{"format":"admind-roster","version":1,"brokers":[{"hostname":"a"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			r, kept, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil || kept != nil {
				t.Fatalf("kept %v, error %v", kept, err)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != text {
				t.Errorf("only read, it became %q, error %v", now, err)
			}
			if err := r.Begin(); err != nil || !strings.Contains(log.String(), path+".bad") {
				t.Errorf("error %v, log %s", err, log.String())
			}
			if aside, err := os.ReadFile(path + ".bad"); err != nil || string(aside) != text {
				t.Errorf("aside %q, error %v", aside, err)
			}
			if _, _, err := Open(path, quiet); err != nil {
				t.Errorf("the new file: %v", err)
			}
		})
	}
}

// TestAFileThatCannotBeUsedIsToldAtOnce: a folder in its place, or no folder for it.
func TestAFileThatCannotBeUsedIsToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none", "state")} {
		if _, _, err := Open(path, quiet); err == nil || !strings.Contains(err.Error(), "state file") {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

// TestTheLargestTopicsAreKept where there are more than fit.
func TestTheLargestTopicsAreKept(t *testing.T) {
	k := cluster.Kept{Address: "a:1"}
	for i := range mostTopics + 10 {
		k.Topics = append(k.Topics, httpapi.Topic{TopicName: strings.Repeat("t", 3), Depth: int64(i + 1)})
	}
	topics := encode([]cluster.Kept{k}).Brokers[0].Topics
	if len(topics) != mostTopics || topics[0].Depth != 11 {
		t.Errorf("%d topics, the first with %d", len(topics), topics[0].Depth)
	}
}

// TestItIsWrittenWhenWhoAnswersChanges at once, and else only now and then.
func TestItIsWrittenWhenWhoAnswersChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	r, _, err := Open(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1700000000, 0)
	node := &cluster.Node{Address: "a:1", Known: true, At: now}
	view := func() *cluster.View { return &cluster.View{Seq: 1, Nodes: []*cluster.Node{node}} }
	writes := func(after time.Duration) bool {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		r.take(view(), now.Add(after))
		_, err := os.Stat(path)
		return err == nil
	}
	if !writes(0) {
		t.Error("a broker that is new was not written")
	}
	if writes(time.Second) {
		t.Error("nothing new was written")
	}
	node.Stale = true
	if !writes(2 * time.Second) {
		t.Error("a broker that died was not written")
	}
	if !writes(2*time.Second + writeEvery) {
		t.Error("it was not written for long")
	}
}

// FuzzDecode: no file makes it panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":"admind-roster","version":1,"brokers":[{"address":"a:1","topics":[{"name":"t","channels":[{"name":"c"}]}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		kept, err := decode(text)
		if err == nil && len(encode(kept).Brokers) != len(kept) {
			t.Error("it is not written as it was read")
		}
	})
}
