package grant

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Slot has the token file that is in force: one that a reload may replace or take out. It is safe for concurrent use. Its zero value is
// not ready; see NewSlot.
type Slot struct {
	now atomic.Pointer[File]
	put chan struct{} // has room for one: there is another file
}

// NewSlot returns a slot with a file, or with none when that is nil.
func NewSlot(f *File) *Slot {
	s := &Slot{put: make(chan struct{}, 1)}
	s.now.Store(f)
	return s
}

// OpenIf opens the token file at path, nil for an empty path.
func OpenIf(path string) (*File, error) {
	if path == "" {
		return nil, nil
	}
	return Open(path)
}

// File returns the file in force, nil when nobody is asked who he is.
func (s *Slot) File() *File { return s.now.Load() }

// Table returns what the file in force says, nil when there is none.
func (s *Slot) Table() *Table {
	if f := s.now.Load(); f != nil {
		return f.Table()
	}
	return nil
}

// Put replaces the file in force; nil takes it out.
func (s *Slot) Put(f *File) {
	s.now.Store(f)
	select {
	case s.put <- struct{}{}:
	default: // it is still to be looked at
	}
}

// watchEvery is how long a change of the file can go unnoticed.
const watchEvery = time.Second

// Watch takes over changes of the file in force until ctx ends, and logs them and what is wrong with it. Nothing ticks while there is none.
func (s *Slot) Watch(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var seen *File
	for {
		f := s.now.Load()
		if f != seen && f != nil && f.Table().empty() {
			warnEmpty(log, f)
		}
		if seen = f; f == nil {
			tick.Stop()
		} else {
			tick.Reset(watchEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.put:
			continue
		case <-tick.C:
		}
		if f == nil {
			continue // a tick from before
		}
		switch changed, err := f.Refresh(); {
		case err != nil:
			log.Error("the token file cannot be used; the last good one counts", "error", err)
		case changed && f.Table().empty():
			warnEmpty(log, f)
		case changed:
			log.Info("token file read", "path", f.path)
		}
	}
}

func warnEmpty(log *slog.Logger, f *File) {
	log.Warn("the token file names nobody: everybody is refused", "path", f.path)
}
