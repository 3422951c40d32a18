package cmdkit

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// mostLines is how many bytes of lines wait to be written, some five thousand requests: more than a reader that is started again misses.
	mostLines = 1 << 20
	// lastLines is for how long the end of a process waits until its last lines are written.
	lastLines = time.Second
)

// lines writes the lines of a log from a goroutine of its own: a pipe that nobody reads, a terminal that is stopped, or a full disk keep no caller of
// Write waiting. What finds no room, or cannot be written, is dropped and counted. Each Write is one line. It is safe for concurrent use.
type lines struct {
	w    io.Writer
	tell func(dropped int) // how many lines were dropped, once all that came behind them are written; it may write
	some chan struct{}     // holds one while there may be lines
	done chan struct{}     // closed when nothing is written any more

	mu      sync.Mutex
	waiting []byte
	spare   []byte
	dropped int
	closed  bool
}

// newLines begins to write to w; close ends it.
func newLines(w io.Writer, tell func(dropped int)) *lines {
	l := &lines{w: w, tell: tell, some: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run() // ends with close, or when w lets go of it
	return l
}

// Write takes a line. It never fails and never waits for the disk.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting)+len(line) > mostLines {
		l.dropped++
		return len(line), nil
	}
	l.waiting = append(l.waiting, line...)
	select {
	case l.some <- struct{}{}:
	default:
	}
	return len(line), nil
}

func (l *lines) run() {
	defer close(l.done)
	for range l.some {
		for batch := l.take(); len(batch) > 0; batch = l.take() {
			n, err := l.w.Write(batch)
			if dropped := l.wrote(batch[n:], err); dropped > 0 {
				l.tell(dropped)
			}
		}
	}
}

// take returns all lines that wait.
func (l *lines) take() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.waiting
	l.waiting, l.spare = l.spare[:0], batch
	return batch
}

// wrote notes what could not be written, and returns how many lines were dropped, if there is room to say so.
func (l *lines) wrote(rest []byte, err error) (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.dropped += bytes.Count(rest, []byte("\n"))
		return 0
	}
	if len(l.waiting) > 0 {
		return 0
	}
	dropped, l.dropped = l.dropped, 0
	return dropped
}

// close waits until the lines are written, but not for long, and drops what comes later.
func (l *lines) close() {
	l.mu.Lock()
	l.closed = true
	close(l.some)
	l.mu.Unlock()
	late := time.NewTimer(lastLines)
	defer late.Stop()
	select {
	case <-l.done:
	case <-late.C:
	}
}
