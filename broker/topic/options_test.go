package topic

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// syncLog notes whether the last commit was to be synced, and fails when it is told to.
type syncLog struct {
	*keptLog
	synced bool
	fail   error
}

func (l *syncLog) Commit(at journal.Offset, sync bool) error {
	l.synced = sync
	return errors.Join(l.fail, l.keptLog.Commit(at, sync))
}

func durableRegistry(t testing.TB, l Log) *Registry {
	cfg := config()
	cfg.Journal, cfg.Segments = l, keptSegments{vfs.NewMem()}
	cfg.Level = func(name string) Level {
		if name == "memory" {
			return Memory
		}
		return Disk
	}
	return start(t, cfg)
}

// TestPublishAs: a publish is synced when its topic or itself asks for that, and not otherwise.
func TestPublishAs(t *testing.T) {
	l := &syncLog{keptLog: &keptLog{}}
	topic := mustTopic(t, durableRegistry(t, l), "t")
	for _, c := range []struct {
		topic, asked Level
		delay        time.Duration
		synced       bool
	}{
		{Disk, Memory, 0, false}, {Disk, Disk, 0, false}, {Disk, Fsync, 0, true}, {Disk, Fsync, time.Second, true},
		{Fsync, Memory, 0, true}, {Fsync, Disk, time.Second, true}, {Disk, Memory, time.Second, false},
	} {
		if err := topic.SetDurability(c.topic); err != nil || !l.synced {
			t.Fatalf("setting the level: %v, synced %v", err, l.synced)
		}
		var b Batch
		b.Add([]byte("m"))
		if err := topic.PublishAs(&b, c.delay, c.asked); err != nil || l.synced != c.synced {
			t.Errorf("a topic at %s, asked for %s: %v, synced %v", c.topic, c.asked, err, l.synced)
		}
	}
}

// TestPublishAsWithoutLog: nothing above memory is to be had of a topic that is not in the log.
func TestPublishAsWithoutLog(t *testing.T) {
	topic := mustTopic(t, durableRegistry(t, &keptLog{}), "memory")
	var b Batch
	b.Add([]byte("m"))
	if err := topic.PublishAs(&b, 0, Disk); !errors.Is(err, ErrNoLog) {
		t.Errorf("disk: %v", err)
	}
	if err := topic.PublishAs(&b, 0, Memory); err != nil || topic.Stats().Depth != 1 {
		t.Errorf("memory: %v, depth %d", err, topic.Stats().Depth)
	}
}

// TestRefuses: what the disk refuses may succeed later; what the broker refuses as it stops will not.
func TestRefuses(t *testing.T) {
	l := &syncLog{keptLog: &keptLog{}, fail: errors.New("no disk")}
	r := durableRegistry(t, l)
	topic := mustTopic(t, r, "t")
	var b Batch
	b.Add([]byte("m"))
	if err := topic.Publish(&b); !Refuses(err) || r.Health() == nil {
		t.Errorf("a failed commit: %v, health %v", err, r.Health())
	}
	l.fail = nil
	r.SetSpace(ErrNoSpace)
	b.Add([]byte("m"))
	if err := topic.Publish(&b); !errors.Is(err, ErrNoSpace) || !Refuses(err) {
		t.Errorf("without space: %v", err)
	}
	for _, err := range []error{nil, fmt.Errorf("x: %w", ErrExiting), fmt.Errorf("x: %w", ErrInvalidName)} {
		if Refuses(err) {
			t.Errorf("%v counts as refused by the disk", err)
		}
	}
}
