package metadata

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// recorder stands for the disk.
type recorder struct {
	failures int // of the next writes
	writes   []time.Duration
	began    time.Time
	takes    time.Duration
}

var errDisk = errors.New("disk is full")

func (r *recorder) write() error {
	time.Sleep(r.takes) // in a bubble
	r.writes = append(r.writes, time.Since(r.began))
	if r.failures > 0 {
		r.failures--
		return errDisk
	}
	return nil
}

// inBubble runs a writer over r.
func inBubble(t *testing.T, r *recorder, f func(*Writer)) {
	synctest.Test(t, func(t *testing.T) {
		r.began = time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		c := New(r.write, slog.New(slog.DiscardHandler))
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		f(c)
		cancel()
		<-done
	})
}

// A thousand new topics at once cost two writes: one at once, and one for what changed during it.
func TestChangesShareWrites(t *testing.T) {
	r := &recorder{takes: time.Millisecond}
	inBubble(t, r, func(c *Writer) {
		for range 1000 {
			c.Changed()
			time.Sleep(time.Microsecond)
		}
		time.Sleep(time.Minute)
	})
	if len(r.writes) != 2 {
		t.Errorf("writes at %v, want 2", r.writes)
	}
}

func TestSlowDiskGetsRest(t *testing.T) {
	r := &recorder{takes: time.Second}
	inBubble(t, r, func(c *Writer) {
		for range 60 {
			c.Changed()
			time.Sleep(time.Second)
		}
	})
	if len(r.writes) > 7 {
		t.Errorf("%d writes of a second in a minute", len(r.writes))
	}
}

func TestFailedWriteIsTriedAgain(t *testing.T) {
	r := &recorder{failures: 3}
	inBubble(t, r, func(c *Writer) {
		c.Changed()
		time.Sleep(time.Minute)
	})
	if len(r.writes) != 4 {
		t.Errorf("writes at %v, want three that fail and one", r.writes)
	}
}

// A disk that takes no writes for hours has one line a minute in the log, which may be on the same disk, and one when that is over.
func TestFailuresAreSaidOnceAMinute(t *testing.T) {
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{began: time.Now(), failures: 6000} // ten minutes of them
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c := New(r.write, slog.New(slog.NewTextHandler(&log, nil)))
		c.Changed()
		c.Run(ctx)
		if r.failures != 0 {
			t.Errorf("%d failures are left: it was tried too seldom", r.failures)
		}
	})
	if failed, mended := strings.Count(log.String(), "level=ERROR"), strings.Count(log.String(), "level=INFO"); failed != 10 || mended != 1 {
		t.Errorf("%d lines of failures in ten minutes and %d of their end, want 10 and 1:\n%s", failed, mended, log.String())
	}
}

// Who saves and fails is told; what had changed before must reach the disk all the same.
func TestFailedSaveIsTriedAgain(t *testing.T) {
	r := &recorder{failures: 1}
	inBubble(t, r, func(c *Writer) {
		if err := c.Save(); !errors.Is(err, errDisk) {
			t.Errorf("Save: %v", err)
		}
		time.Sleep(time.Minute)
	})
	if len(r.writes) != 2 {
		t.Errorf("writes at %v, want the one that failed and another", r.writes)
	}
}

// What Save has written needs no second write.
func TestSaveCoversChanges(t *testing.T) {
	r := &recorder{}
	synctest.Test(t, func(t *testing.T) {
		c := New(r.write, slog.New(slog.DiscardHandler))
		c.Changed()
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c.Run(ctx)
	})
	if len(r.writes) != 1 {
		t.Errorf("%d writes, want 1", len(r.writes))
	}
}
