package broker

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/simnet"
	"brokerd/broker/storage"
	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/prototest"
)

// TestMemoryCanBeHadWhereFoldersCannotBeSynced: a start at level memory alone takes publishes there although an earlier start has left a log; at any other
// level it refuses.
func TestMemoryCanBeHadWhereFoldersCannotBeSynced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const host = "127.0.0.1"
		network, disk := simnet.New(1), vfs.NewFaulty(vfs.OS())
		o := DefaultOptions()
		o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress, o.DataPath = host+":4150", "", "", host, t.TempDir()
		o.ShutdownTimeout, o.LogFileSize = time.Second, 64<<10
		start := func(level topic.Level) (stop func(), err error) {
			o.Durability = Durability(level)
			s, err := New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
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
		conn, err := network.Dial(t.Context(), simOutside, o.TCPAddress)
		if err != nil {
			t.Fatal(err)
		}
		c := prototest.NewClient(t, conn)
		c.Send(prototest.Magic + prototest.Pub("t", "m"))
		c.Expect("OK")
		_ = conn.Close()
		disk.SetRules() // a stop may write the manifest, and says when it cannot
		stop()
	})
}
