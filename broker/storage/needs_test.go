package storage

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
	"brokerd/protocol"
)

// needs returns what the manifest on the disk says that a reader must know.
func (n *node) needs() []string {
	m, found, err := manifest.Read(n.fs, "data")
	if err != nil || !found {
		return nil
	}
	return m.Needs
}

// usesOnlyNamed fails when a record of the log uses a feature that the manifest does not name.
func (n *node) usesOnlyNamed() {
	m, found, err := manifest.Read(n.fs, "data")
	if err != nil || !found || n.forgot {
		return
	}
	used := map[journal.Feature]bool{}
	publish := func(p journal.Publish) {
		used[journal.FeatureExpiry] = used[journal.FeatureExpiry] || p.Expires != 0
		used[journal.FeatureDedup] = used[journal.FeatureDedup] || p.Keys != nil
		used[journal.FeatureKeys] = used[journal.FeatureKeys] || p.Sums != nil
		used[journal.FeatureProperties] = used[journal.FeatureProperties] || len(p.Properties) > 0
	}
	_, err = wal.Read(n.fs, filepath.Join("data", logFolder), wal.Need{Folder: m.Folder.Short(), AcceptLoss: true}, func(e wal.Entry) error {
		switch journal.Kind(e.Kind) {
		case journal.KindAside:
			used[journal.FeatureKeys] = true
		case journal.KindPublish:
			if p, _, err := journal.ParsePublish(e.Data); err == nil {
				publish(p)
			}
		case journal.KindMoved:
			if _, p, _, err := journal.ParseMoved(e.Data); err == nil {
				publish(p)
				used[journal.FeatureMoved] = true
			}
		case journal.KindChange:
			var c journal.Change
			if err := json.Unmarshal(e.Data, &c); err != nil {
				return err
			}
			used[journal.FeatureOptions] = used[journal.FeatureOptions] || c.Op == journal.OpOptions && c.Channel != 0
			used[journal.FeatureRetention] = used[journal.FeatureRetention] || c.Op == journal.OpFloor
		}
		return nil
	})
	if err != nil {
		n.fail("reading the log: %v", err)
	}
	for f, yes := range used {
		if yes && !slices.Contains(m.Needs, f.String()) {
			n.fail("the log uses %s, and the manifest names %q", f, m.Needs)
		}
	}
}

// TestNeeds: a folder that uses no feature of a later build names none; each is named before its first use, stays named over restarts, and
// refuses a build that does not know it.
func TestNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 5)
		n.limit(0)
		tp, err := n.r.Topic("t0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := tp.Channel("c0")
		if err != nil {
			t.Fatal(err)
		}
		publish := func(ttl, delay time.Duration) {
			b := topic.Batch{TTL: ttl}
			b.Add([]byte("m"))
			if err := tp.PublishAs(&b, delay, topic.Disk); err != nil {
				t.Fatal(err)
			}
		}
		is := func(when string, want ...string) {
			t.Helper()
			if got := n.needs(); !slices.Equal(got, want) {
				t.Errorf("%s: the manifest names %q, want %q", when, got, want)
			}
		}
		publish(0, 0)
		publish(0, time.Second)
		if err := tp.SetDurability(topic.Fsync); err != nil {
			t.Fatal(err)
		}
		tp.SetPaused(true)
		tp.SetPaused(false)
		time.Sleep(5 * time.Second)
		is("plain use")
		publish(time.Hour, 0)
		is("a time to live", "expiry")
		if err := c.SetOptions(map[string]json.RawMessage{"max_attempts": json.RawMessage("1"), "dead_letter": json.RawMessage(`"x0"`)}); err != nil {
			t.Fatal(err)
		}
		is("options", "expiry", "options")
		if err := tp.SetOptions(map[string]json.RawMessage{"dedup_window": json.RawMessage(`"1m"`)}); err != nil {
			t.Fatal(err)
		}
		publish(0, 0)
		is("a window without a key", "expiry", "options")
		var keyed topic.Batch
		keyed.Add([]byte("m"))
		keyed.Deduplicate(topic.Mark{}, "t0", "a", false)
		if err := tp.Publish(&keyed); err != nil {
			t.Fatal(err)
		}
		is("a deduplication key", "dedup", "expiry", "options")
		if err := tp.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(`"1h"`)}); err != nil {
			t.Fatal(err)
		}
		is("messages that are kept", "dedup", "expiry", "options", "retention")
		var ordered topic.Batch
		ordered.Add([]byte("m"))
		ordered.Order(topic.Mark{}, "a")
		if err := tp.Publish(&ordered); err != nil {
			t.Fatal(err)
		}
		is("a key that orders", "dedup", "expiry", "keys", "options", "retention")
		n.most = 1
		s, err := tp.Subscribe("c0", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		s.SetReady(1)
		var d topic.Delivery
		s.Take(&d)
		each(&d, func(f protocol.MessageFrame) { s.Apply([]topic.Answer{{ID: f.MustID(), Verb: topic.Requeue}}, nil) })
		synctest.Wait()
		all := journal.FeatureNames()
		is("a dead letter", slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == "cluster" })...)
		if err := n.k.Need(journal.FeatureCluster); err != nil {
			t.Fatal(err)
		}
		is("a cluster", all...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		k, r := n.k, n.r
		if err := errors.Join(r.Close(), k.Close()); err != nil {
			t.Fatal(err)
		}
		is("a clean stop", all...)
		n.start()
		is("a start", all...)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNeedsOnAFailingDisk: a feature that cannot be named is not used; when the disk is well again it is, and the node is healthy.
func TestNeedsOnAFailingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 6)
		tp, err := n.r.Topic("t0")
		if err != nil {
			t.Fatal(err)
		}
		b := topic.Batch{TTL: time.Hour}
		publish := func() error {
			b.Reset()
			b.TTL = time.Hour
			b.Add([]byte("m"))
			return tp.PublishAs(&b, 0, topic.Disk)
		}
		n.disk.SetRules(vfs.Rule{Ops: vfs.OpCreate | vfs.OpWrite | vfs.OpRename, Path: manifest.FileName + "*", Err: syscall.ENOSPC})
		if err := publish(); !errors.Is(err, syscall.ENOSPC) || n.r.Health() == nil {
			t.Errorf("published without a name in the manifest: %v, health %v", err, n.r.Health())
		}
		if s := tp.Stats(); s.Depth != 0 {
			t.Errorf("%d messages are there", s.Depth)
		}
		n.disk.SetRules()
		time.Sleep(5 * time.Second)
		if err := publish(); err != nil || n.r.Health() != nil || !slices.Equal(n.needs(), []string{"expiry"}) {
			t.Errorf("on a disk that is well: %v, health %v, named %q", err, n.r.Health(), n.needs())
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
