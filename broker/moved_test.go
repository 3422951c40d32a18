package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/broker/topic"
)

// TestAFolderThatIsMovedIsUsedWhereItIs: the data folder of a running broker is moved, and another broker begins a new one in its place. Each keeps what it
// takes in its own, at every level; the log of the first says so.
func TestAFolderThatIsMovedIsUsedWhereItIs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no path of this system leads to a folder that was moved")
	}
	t.Parallel()
	for name, level := range map[string]broker.Durability{"memory": broker.Durability(topic.Memory), "disk": levelDisk, "fsync": levelFsync} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			data, moved := filepath.Join(root, "data"), filepath.Join(root, "moved")
			o := options(t)
			o.DataPath, o.Durability, o.LogFileSize, o.MemQueueSize = data, level, 64<<10, 10
			first, log := startLogged(t, o)
			sent := func(n *node, topic string, from, to int) {
				for i := from; i < to; i++ {
					n.post("/pub?topic="+topic, fmt.Sprintf("%d%s", i, strings.Repeat(".", 2000)))
				}
			}
			first.post("/topic/create?topic=one", "")
			first.post("/channel/create?topic=one&channel=c", "")
			sent(first, "one", 0, 50)
			if err := os.Rename(data, moved); err != nil {
				t.Fatal(err)
			}
			o.TCPAddress, o.HTTPAddress, o.HTTPSAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
			second := startWith(t, o)
			second.post("/topic/create?topic=two", "")
			second.post("/channel/create?topic=two&channel=c", "")
			for i := 0; i < 200; i += 50 {
				sent(first, "one", 50+i, 100+i)
				sent(second, "two", i, i+50)
			}
			first.post("/topic/create?topic=late", "") // both write their lists
			second.post("/topic/create?topic=late2", "")
			if level == levelDisk || level == levelFsync {
				eventually(t, "the log of the first says so", func() bool { return strings.Contains(log.String(), "was moved, or something was put in its place") })
			}
			first.stop()
			second.stop()
			for _, of := range []struct {
				dir, topic string
				count      int
				late       string
			}{{moved, "one", 250, "late"}, {data, "two", 200, "late2"}} {
				o.DataPath = of.dir
				n := startWith(t, o)
				if got := n.topic(of.topic); len(got.Channels) != 1 || got.Channels[0].Depth != int64(of.count) {
					t.Errorf("%s has of topic %s: %+v", filepath.Base(of.dir), of.topic, got)
				}
				var names []string
				for _, made := range n.stats().Topics {
					names = append(names, made.TopicName)
				}
				if len(names) != 2 || names[0] != of.late && names[1] != of.late {
					t.Errorf("%s has topics %q", filepath.Base(of.dir), names)
				}
				c := n.subscribe(of.topic, "c", 2500)
				for range of.count {
					c.Send("FIN " + c.Next().Message().ID + "\n")
				}
				n.stop()
			}
		})
	}
}
