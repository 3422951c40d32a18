package broker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/simnet"
	"brokerd/broker/storage"
	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// TestMemoryCanBeHadWhereFoldersCannotBeSynced: a start at level memory alone takes publishes there although an earlier start has left a log, is well, and
// stops in order with nothing lost or delivered twice; at any other level it refuses.
func TestMemoryCanBeHadWhereFoldersCannotBeSynced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const host = "127.0.0.1"
		network, disk := simnet.New(1), vfs.NewFaulty(vfs.OS())
		o := DefaultOptions()
		o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress, o.DataPath = host+":4150", "", "", host, t.TempDir()
		o.ShutdownTimeout, o.LogFileSize = time.Second, 64<<10
		var s *Server
		start := func(level topic.Level) (stop func(), err error) {
			o.Durability = Durability(level)
			s, err = New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
			if err != nil {
				t.Fatal(err)
			}
			s.around = world{listen: network.Listen, dial: network.DialFrom(host), files: disk}
			return func() {
				if err := s.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
			}, s.Start(t.Context())
		}
		stop, err := start(topic.Disk)
		if err != nil {
			t.Fatal(err)
		}
		connect := func() (*prototest.Client, func()) {
			conn, err := network.Dial(t.Context(), simOutside, o.TCPAddress)
			if err != nil {
				t.Fatal(err)
			}
			c := prototest.NewClient(t, conn)
			c.Send(prototest.Magic)
			return c, func() { _ = conn.Close() }
		}
		c, leave := connect()
		c.Send("SUB kept c\n" + prototest.Pub("kept", "first") + prototest.Pub("kept", "second"))
		c.Expect("OK")
		c.Expect("OK")
		c.Expect("OK")
		leave()
		stop() // there is a log now
		disk.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Err: syscall.EINVAL})
		for _, level := range []topic.Level{topic.Disk, topic.Fsync} {
			if _, err := start(level); !errors.Is(err, storage.ErrUnsyncable) {
				t.Errorf("level %s: %v", level, err)
			}
		}
		if stop, err = start(topic.Memory); err != nil {
			t.Fatal(err)
		}
		c, leave = connect()
		c.Send(prototest.Pub("t", "m"))
		c.Expect("OK")
		c.Send("SUB kept c\nRDY 1\n")
		c.Expect("OK")
		c.Send("FIN " + c.ExpectMessage("first", 1).ID + "\nRDY 0\n")
		for name, change := range map[string]func(*Options){ // what a start refuses is not taken by a reload either
			"--topic-durability": func(o *Options) { o.TopicDurability = []string{"t*=disk"} },
			"--topic-options":    func(o *Options) { o.TopicOptions = []string{"t* durability=fsync"} },
		} {
			fresh := o
			change(&fresh)
			if err := s.Reload(fresh, httpapi.Origins{}); !errors.Is(err, storage.ErrUnsyncable) || !strings.Contains(err.Error(), "choose a --data-path on another") {
				t.Errorf("%s: %v", name, err)
			}
		}
		made, err := s.registry.Topic("made")
		if err != nil {
			t.Fatal(err)
		}
		if err := made.SetDurability(topic.Disk); !errors.Is(err, topic.ErrUnpromised) || !errors.Is(err, storage.ErrUnsyncable) {
			t.Errorf("a topic is moved into the log: %v", err)
		}
		fresh := o
		fresh.TopicDurability = []string{"t*=memory"}
		if err := s.Reload(fresh, httpapi.Origins{}); err != nil {
			t.Errorf("a reload at level memory: %v", err)
		}
		leave()
		c, leave = connect()
		c.Send(prototest.Pub("kept", "third"))
		c.ExpectError("E_PUB_FAILED PUB failed " + topic.ErrUnpromised.Error())
		leave()
		time.Sleep(time.Minute) // in which a log that cannot be written is tried
		if err := s.ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		stop()
		if stop, err = start(topic.Memory); err != nil {
			t.Fatal(err)
		}
		if all, _ := s.held(); all != 2 {
			t.Errorf("%d messages, wanted the one at level memory and the second of the topic that is kept", all)
		}
		stop()
	})
}
