package topic

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// manyKeyed publishes so many messages with keys of their own.
func manyKeyed(t *testing.T, topic *Topic, count int) {
	t.Helper()
	list := make([]string, 0, count)
	for i := range count {
		list = append(list, fmt.Sprintf("%s-%d=x", topic.name, i))
	}
	publishKeyed(t, topic, list...)
}

// TestDeletedTopicsGiveKeyMemoryBack: however many topics come and go, what their keys took counts for nobody.
func TestDeletedTopicsGiveKeyMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		cfg.DedupMemory = 1 << 20
		patterned, err := policy.ParsePattern("p* dedup_window=10m", false)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Patterns.Topics = []policy.Pattern{patterned}
		r := start(t, cfg)
		kept := mustTopic(t, r, "kept")
		setTopicOptions(t, kept, `{"dedup_window":"10m"}`)
		publishKeyed(t, kept, "a=1")
		before := r.keys.used.Load()
		for i := range 40 { // 2 MB of keys in all
			name := fmt.Sprintf("gone%d", i)
			gone := mustTopic(t, r, name)
			setTopicOptions(t, gone, `{"dedup_window":"10m"}`)
			manyKeyed(t, gone, 1000)
			if err := r.DeleteTopic(name); err != nil {
				t.Fatal(err)
			}
		}
		moved := mustTopic(t, r, "p")
		mustChannel(t, moved, "c")
		manyKeyed(t, moved, 1000)
		if err := moved.Channels()[0].Empty(); err != nil {
			t.Fatal(err)
		}
		if err := moved.SetDurability(Memory); err != nil { // its window is the configuration's, and has no effect there
			t.Fatal(err)
		}
		synctest.Wait()
		if used := r.keys.used.Load(); used != before {
			t.Errorf("keys of topics that are gone take %d bytes", used-before)
		}
		if d := publishKeyed(t, kept, "a=2"); len(d) != 1 {
			t.Error("a topic that is there has lost its key")
		}
	})
}

// TestKeyMemoryIsLookedAtOnceAllIsThere: while topics are made again nobody else touches their keys; with the start the bound counts.
func TestKeyMemoryIsLookedAtOnceAllIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &keptLog{}
		topic := dedupTopic(t, l)
		for range 20 {
			manyKeyed(t, topic, 1000)
			topic.name += "x" // other keys
		}
		v := NewRecovery(journal.NewState())
		for i, r := range l.records {
			if err := v.Apply(journal.Offset{Offset: int64(i)}, r.kind, r.data); err != nil {
				t.Fatal(err)
			}
		}
		cfg := config()
		cfg.Journal, cfg.Segments, cfg.Level = l, keptSegments{vfs.NewMem()}, func(string) Level { return Disk }
		cfg.DedupMemory = 100 << 10
		again := NewRegistry(cfg)
		defer again.Close()
		if err := again.Recover(v); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		found := again.Lookup("t")
		if n := found.Stats().DedupKeys; n != 20_000 {
			t.Errorf("%d keys before the start", n)
		}
		again.Start()
		synctest.Wait()
		if n := again.keys.used.Load(); n > cfg.DedupMemory || found.Stats().DedupForgotten == 0 {
			t.Errorf("keys take %d bytes, and %d were forgotten", n, found.Stats().DedupForgotten)
		}
	})
}

// TestADuplicateWithAcks0IsAnsweredAtOnce: it waits neither for the first one nor, on a topic at level fsync, for a sync.
func TestADuplicateWithAcks0IsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t)
		g.log.set(true)
		setTopicOptions(t, g.topic, `{"dedup_window":"10m","durability":"fsync"}`)
		g.log.set(false)
		for range 3 {
			b := keyedBatch("t", "a=1")
			b.Acks = policy.AcksNone
			if err := g.topic.Publish(b); err != nil { // else the test hangs, and synctest says so
				t.Fatal(err)
			}
		}
		g.log.finish(t, 0, nil)
		g.expect("1")
		b := keyedBatch("t", "a=no")
		b.Acks = policy.AcksNone
		if err := g.topic.Publish(b); err != nil {
			t.Fatal(err)
		}
		g.log.set(true)
	})
}

// TestTheClockIsSet: within the window a key counts whichever way the clock goes; what counts is what the broker's clock says.
func TestTheClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := dedupTopic(t, &keptLog{})
		r := topic.registry
		publishKeyed(t, topic, "a=1")
		for _, skew := range []time.Duration{-9 * time.Minute, 9 * time.Minute, 0} {
			r.skew = skew
			if d := publishKeyed(t, topic, "a=no"); len(d) != 1 {
				t.Errorf("with the clock set by %v the key has gone", skew)
			}
		}
		r.skew = time.Hour
		publishKeyed(t, topic, "b=2")
		r.skew = 0
		if d := publishKeyed(t, topic, "b=3", "b=no"); len(d) != 1 {
			t.Errorf("a key of a time that was wrong by an hour: %v", d)
		}
		if got := strings.Join(waiting(t, topic, "c"), " "); got != "1 2 3" {
			t.Errorf("stored is %s", got)
		}
	})
}

// TestTheClockIsWhereSecondsEnd: a key counts for its window also when the clock passes the last second that 32 bits can say, as a clock without a battery
// begins there, and behind that.
func TestTheClockIsWhereSecondsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := dedupTopic(t, &keptLog{})
		r := topic.registry
		end := time.Until(time.Unix(math.MaxUint32, 0))
		for i, skew := range []time.Duration{end - time.Minute, end + time.Hour, end + 50*365*24*time.Hour} {
			key := fmt.Sprint("k", i)
			r.skew = skew
			publishKeyed(t, topic, key+"=first")
			r.skew += 5 * time.Minute
			if d := publishKeyed(t, topic, key+"=no"); len(d) != 1 {
				t.Errorf("5 minutes after %v the key has gone", time.Now().Add(skew))
			}
		}
		r.skew = 0
		publishKeyed(t, topic, "k0=again")
		if d := publishKeyed(t, topic, "k0=no"); len(d) != 1 {
			t.Error("with the right clock again a key does not count")
		}
		if got := strings.Join(waiting(t, topic, "c"), " "); got != "first first first again" {
			t.Errorf("stored is %s", got)
		}
	})
}
