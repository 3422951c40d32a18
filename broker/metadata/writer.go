package metadata

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// The writer rests after each write for pauseFactor times as long as that took, and at least minPause, so that a large list
// on a slow disk does not keep it busy.
const (
	minPause    = 100 * time.Millisecond
	pauseFactor = 10
)

// sayAgain is how often it is logged that the list still cannot be written, for as long as that lasts: it is tried again much more often.
const sayAgain = time.Minute

// Writer writes the list. Changed may be called before Run.
type Writer struct {
	write func() error
	log   *slog.Logger
	dirty chan struct{}

	mu sync.Mutex // one write at a time
}

// New returns a writer whose list write puts on disk as it is at that moment.
func New(write func() error, log *slog.Logger) *Writer {
	return &Writer{write: write, log: log, dirty: make(chan struct{}, 1)}
}

// Changed notes that the list has changed. It never waits.
func (c *Writer) Changed() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// Save writes the list now. What it fails to write, Run tries again.
func (c *Writer) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.dirty:
	default:
	}
	err := c.write()
	if err != nil {
		c.Changed() // the changes are not on disk yet: Run tries again
	}
	return err
}

// Run writes after changes until ctx ends. A write that fails is tried again; that it fails is logged at once and once a minute, and that it has
// succeeded again as well.
func (c *Writer) Run(ctx context.Context) {
	var said time.Time // when it was last logged that writing fails; zero: the last write has succeeded
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.dirty:
		}
		began := time.Now()
		switch err := c.Save(); {
		case err == nil && !said.IsZero():
			c.log.Info("the list of topics and channels is written again")
			said = time.Time{}
		case err != nil && (said.IsZero() || time.Since(said) >= sayAgain):
			c.log.Error("writing the list of topics and channels: it is tried again", "error", err)
			said = time.Now()
		}
		if !rest(ctx, max(minPause, pauseFactor*time.Since(began))) {
			return
		}
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
