package topic

import (
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// slowLog is a log on a disk that takes its time.
type slowLog struct {
	idleLog
	takes time.Duration
}

func (l *slowLog) Commit(journal.Offset, bool) error {
	time.Sleep(l.takes)
	return nil
}

// TestConsumersDoNotWaitForASlowDisk: once a commit has been slow consumers are woken before the next ones, until these have been
// quick for a while; at level fsync always.
func TestConsumersDoNotWaitForASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &slowLog{}
		cfg := config()
		cfg.Journal, cfg.Segments = log, keptSegments{vfs.NewMem()}
		level := Disk
		cfg.Level = func(string) Level { return level }
		r := start(t, cfg)
		left := func(name string) bool {
			to := mustTopic(t, r, name)
			s := mustSubscribe(t, to, "c", 1, SubscribeOptions{})
			var later Wakes
			b := Batch{Later: &later}
			b.Add([]byte("m"))
			if err := to.Publish(&b); err != nil {
				t.Fatal(err)
			}
			was := later.Any()
			if was == woken(s) {
				t.Fatalf("the consumer was left to the publisher: %v, and woken as well, or neither", was)
			}
			later.Each(func(Consumer) {})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			to.Channels()[0].mu.Lock()
			to.Channels()[0].clearLocked()
			to.Channels()[0].mu.Unlock()
			return was
		}
		if !left("t") {
			t.Error("the disk is quick, and a consumer is woken before the commit")
		}
		log.takes = slowCommit + time.Millisecond
		if !left("t") {
			t.Error("nobody knows yet that the disk is slow")
		}
		log.takes = 0
		for i := range slowPublishes {
			if left("t") {
				t.Fatalf("publish %d after a slow one has its consumer wait", i+1)
			}
		}
		if !left("t") {
			t.Error("a slow commit is never forgotten")
		}
		level = Fsync
		if left("synced") {
			t.Error("at level fsync a consumer waits for the disk")
		}
	})
}
