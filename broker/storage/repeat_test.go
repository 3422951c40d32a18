package storage

import (
	"encoding/json"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
)

// TestARepeatedPublishOfWhatNoSyncHasProven: the sync behind a publish has failed, and a checkpoint has made up for it. Who repeats the
// publish and wants it to be synced gets OK then, and not for ever the error of that sync; and OK is true.
func TestARepeatedPublishOfWhatNoSyncHasProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startQuiet(t, 1)
		to, err := n.r.Topic("t0")
		if err == nil {
			err = to.SetOptions(map[string]json.RawMessage{"dedup_window": json.RawMessage(`"10h"`)})
		}
		if err != nil {
			t.Fatal(err)
		}
		publish := func(level topic.Level) error {
			var b topic.Batch
			b.Add([]byte("one"))
			b.Deduplicate(topic.Mark{}, "t0", "a", false)
			return to.PublishAs(&b, 0, level)
		}
		time.Sleep(time.Minute) // what the options bring is synced, so that the next sync is of the publish
		synctest.Wait()
		n.disk.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1, Err: syscall.EIO})
		if err := publish(topic.Disk); err != nil {
			t.Fatal(err)
		}
		if err := publish(topic.Fsync); err == nil {
			t.Error("a repeated publish was answered OK, and the sync that it asks for has failed")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := n.r.Health(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := publish(topic.Fsync); err != nil {
				t.Errorf("the disk is well again, and the message safe: %v", err)
			}
		}
		if s := to.Stats(); s.Duplicates != 3 || s.MessageCount != 1 {
			t.Errorf("%+v", s)
		}
		if err := n.r.Health(); err != nil {
			t.Errorf("health is %v", err)
		}
	})
}
