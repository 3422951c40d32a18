package session

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// errEnding ends a session that is told to end, once it has nothing more to read.
var errEnding = errors.New("the broker ends the session")

// link is the socket with its deadlines. Reads belong to the session's reader, and so do all fields but those of writes. Its
// times are since start; 0 is none.
type link struct {
	socket
	start time.Time

	interval time.Duration // of heartbeats; 0 is none and no deadlines
	nextBeat time.Duration
	dead     time.Duration // when the peer counts as gone
	armed    time.Duration // the read deadline that is set
	newLine  bool          // the next read waits for a new command
	turns    turns
	beat     func() error
	part     func() bool // called once a session that ends has read all there is: whether to read on for leave

	leave time.Duration // how long each step of an end may take
	until atomic.Int64  // when the session ends at the latest, in nanoseconds since start; 0 while it is not to end

	wmu        sync.Mutex // guards what follows; held while something is written
	writeLimit time.Duration
	writeArmed time.Duration
}

func newLink(conn net.Conn) *link {
	l := &link{start: time.Now(), leave: leastLeave}
	l.open(conn)
	return l
}

func (l *link) now() time.Duration { return time.Since(l.start) }

// Read reads what is there, or waits for it and keeps the peer informed that the broker lives.
func (l *link) Read(p []byte) (int, error) {
	_, n, err := l.attend(p)
	return n, err
}

// readLent is Read into a buffer that is taken from the pool only once there is something to read. The buffer is the
// caller's when n is above 0. When there is nothing to read yet the wakes are served.
func (l *link) readLent(w *wakes) (buf []byte, n int, err error) {
	if w.Any() {
		if buf, n = l.readNow(); n > 0 {
			w.pass()
			return buf, n, nil
		}
		w.serve()
	}
	yielded := l.turns.take()
	buf, n, err = l.attend(nil)
	l.turns.judge(yielded, !l.in.waited)
	return buf, n, err
}

// leastLeave is how long a session that is to end may go on reading what its peer goes on sending, and behind that hearing the last answers of a
// peer that has been shown the end, unless Config.Leave is longer.
const leastLeave = 250 * time.Millisecond

// end has the session end soon: its reader goes on only with what the peer has sent already. Any goroutine may call it.
func (l *link) end() {
	l.until.Store(int64(l.now() + l.leave))
	_ = l.SetReadDeadline(time.Now()) // wakes the reader, which looks at until after it has set a deadline
}

// readRest reads what is there without waiting. When there is nothing, part is asked whether to read on; more says so.
func (l *link) readRest(p []byte) (filled []byte, n int, more bool, err error) {
	if l.raw == nil || l.now() >= time.Duration(l.until.Load()) {
		return nil, 0, false, errEnding
	}
	l.armed = 0
	if err := l.SetReadDeadline(time.Time{}); err != nil {
		return nil, 0, false, err
	}
	l.in.once = true
	filled, n, _ = l.read(p)
	l.in.once = false
	if n > 0 {
		return filled, n, false, nil
	}
	if l.part == nil || !l.part() {
		return nil, 0, false, errEnding
	}
	l.interval, l.dead = 0, l.now()+l.leave
	l.until.Store(0)
	return nil, 0, true, nil
}

func (l *link) arm(deadline time.Duration) error {
	if deadline == l.armed {
		return nil
	}
	l.armed = deadline
	if deadline == 0 {
		return l.SetReadDeadline(time.Time{})
	}
	return l.SetReadDeadline(l.start.Add(deadline))
}

// beginCommand starts the time that the peer has for its next command.
func (l *link) beginCommand() {
	if l.interval > 0 {
		l.newLine = true
	}
}

// Write writes all of p within one heartbeat interval, give or take half of one.
func (l *link) Write(p []byte) (int, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.armWriteLocked()
	return l.write(p)
}

// writeNow writes as much of p as can be written without waiting.
func (l *link) writeNow(p []byte) (int, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.armWriteLocked()
	return l.socket.writeNow(p)
}

func (l *link) armWriteLocked() {
	if l.writeLimit > 0 {
		if now := l.now(); l.writeArmed < now+l.writeLimit/2 {
			l.writeArmed = now + l.writeLimit
			_ = l.SetWriteDeadline(l.start.Add(l.writeArmed))
		}
	}
}

// turns is when a reader lets others have the processor before it looks for what its peer sends next. When many peers wait for
// an answer each before they say more, as producers do, the next command is mostly there once it is the reader's turn again,
// and waiting for it through the poller would cost far more.
type turns struct {
	row  uint8 // turns that were given in a row and were of use
	pass uint8 // reads to come without giving one
	rest uint8 // how many reads that will be when the next one is of no use
}

const (
	maxRow  = 8  // then the reader waits once through the poller, which else would never be asked
	maxRest = 64 // reads
)

// take gives a turn if that may be of use, and reports whether it did.
func (t *turns) take() bool {
	if t.pass > 0 {
		t.pass--
		return false
	}
	runtime.Gosched()
	return true
}

// judge says whether there was something to read at once.
func (t *turns) judge(gave, found bool) {
	switch {
	case !gave:
	case !found:
		t.rest = max(1, min(2*t.rest, maxRest))
		t.row, t.pass = 0, t.rest
	default:
		t.rest = 0
		if t.row++; t.row >= maxRow {
			t.row, t.pass = 0, 1
		}
	}
}
