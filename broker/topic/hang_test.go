package topic

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

// slowIDs is a store of the bound whose disk hangs until it is let go.
type slowIDs struct {
	bound uint64
	hangs chan struct{} // nil: it does not
}

func (s *slowIDs) Bound() uint64 { return s.bound }

func (s *slowIDs) Reserve(upTo uint64) error {
	if s.hangs != nil {
		<-s.hangs
	}
	s.bound = upTo
	return nil
}

// TestPublishesDoNotWaitForReservedIDs: numbers are reserved when half of those at hand are used, beside the publish that finds it
// out; a disk that hangs meanwhile holds up nobody before the last one is used.
func TestPublishesDoNotWaitForReservedIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowIDs{}
		r := NewRegistry(Config{IDs: store})
		r.Start()
		synctest.Wait()
		first := store.bound
		if first == 0 {
			t.Fatal("nothing is reserved before the first publish")
		}
		store.hangs = make(chan struct{})
		for range 4 { // 4 x 3/16 of the reserve
			if _, err := r.ids.take(idReserve / 16 * 3); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if store.bound != first {
			t.Fatal("the hanging disk has written")
		}
		close(store.hangs)
		synctest.Wait()
		if store.bound <= first {
			t.Error("no more numbers are reserved when more than half are used")
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// hangingLog is a log whose disk hangs from freeze on until it is let go.
type hangingLog struct {
	*keptLog
	hangs atomic.Pointer[chan struct{}]
}

func (h *hangingLog) Commit(at journal.Offset, sync bool) error {
	if c := h.hangs.Load(); c != nil {
		<-*c
	}
	return h.keptLog.Commit(at, sync)
}

// TestHangingLogHoldsUpNobodyElse: while whoever needs the log's disk waits for it, to publish, to make a topic or a channel, to
// delete, to change a level, everything at level memory goes on, and so do the figures of all topics.
func TestHangingLogHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &hangingLog{keptLog: &keptLog{}}
		cfg := config()
		makeDurable(&cfg)
		cfg.Journal = log
		cfg.Level = func(name string) Level {
			if strings.HasPrefix(name, "memory") {
				return Memory
			}
			return Disk
		}
		r := start(t, cfg)
		for _, name := range []string{"disk", "gone", "moves"} {
			mustChannel(t, mustTopic(t, r, name), "c")
		}
		fast := mustTopic(t, r, "memory")
		s := mustSubscribe(t, fast, "c", 100, SubscribeOptions{MsgTimeout: time.Second})

		thaw := make(chan struct{})
		log.hangs.Store(&thaw)
		var waiting sync.WaitGroup
		wait := func(f func() error) {
			waiting.Go(func() {
				if err := f(); err != nil {
					t.Error(err)
				}
			})
		}
		wait(func() error {
			var b Batch
			b.Add([]byte("m"))
			return r.Lookup("disk").Publish(&b)
		})
		wait(func() error { _, err := r.Topic("new"); return err })
		wait(func() error { _, err := r.Lookup("disk").Channel("new"); return err })
		wait(func() error { return r.DeleteTopic("gone") })
		wait(func() error { r.Lookup("disk").SetPaused(true); return nil })
		moves := r.Lookup("moves")
		wait(func() error { return moves.SetDurability(Memory) })
		synctest.Wait()

		publish(t, fast, 10)
		if n := drain(s); n != 10 {
			t.Errorf("%d of 10 messages arrive at level memory", n)
		}
		publish(t, mustTopic(t, r, "memory-new"), 1)
		mustChannel(t, r.Lookup("memory-new"), "c")
		time.Sleep(2 * time.Second) // the sweeper goes on
		synctest.Wait()
		if n := drain(s); n != 10 {
			t.Errorf("%d of 10 messages come again after their timeout", n)
		}
		time.Sleep(2 * trimInterval)
		for _, topic := range r.Topics() {
			topic.Stats()
		}
		r.Metadata()
		_ = r.Health()
		if err := r.DeleteTopic("memory-new"); err != nil {
			t.Error(err)
		}

		log.hangs.Store(nil)
		close(thaw)
		waiting.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
