package session

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// errSilent ends a connection whose peer has sent no command for two heartbeat intervals.
var errSilent = errors.New("no command within two heartbeat intervals")

// link is the socket with its deadlines. Reads belong to the session's reader, and so do all fields but those of writes.
type link struct {
	net.Conn
	raw syscall.RawConn // nil when there is no file descriptor to read from
	try func(fd uintptr) bool

	interval time.Duration // of heartbeats; 0 is none and no deadlines
	nextBeat time.Time
	dead     time.Time // when the peer counts as gone
	armed    time.Time // the read deadline that is set
	newLine  bool      // the next read waits for a new command
	beat     func() error

	lent  []byte // by try, of which n bytes are read
	n     int
	errno error

	wmu        sync.Mutex // guards what follows
	writeLimit time.Duration
	writeArmed time.Time
}

func newLink(conn net.Conn) *link {
	l := &link{Conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			l.raw = raw
		}
	}
	l.try = l.tryRead
	return l
}

// setHeartbeat sets the interval, 0 for none, and begins it.
func (l *link) setHeartbeat(interval time.Duration) {
	now := time.Now()
	l.interval, l.newLine = interval, false
	l.nextBeat, l.dead = now.Add(interval), time.Time{}
	if interval > 0 {
		l.dead = now.Add(2 * interval)
	}
	l.wmu.Lock()
	l.writeLimit, l.writeArmed = interval, time.Time{}
	if interval == 0 {
		_ = l.Conn.SetWriteDeadline(time.Time{})
	}
	l.wmu.Unlock()
}

// Read reads what is there, or waits for it and keeps the peer informed that the broker lives.
func (l *link) Read(p []byte) (int, error) {
	return l.attend(func() (int, error) { return l.Conn.Read(p) })
}

// readLent is Read into a buffer that is taken from the pool only once there is something to read. The buffer is the
// caller's when n is above 0.
func (l *link) readLent() (buf []byte, n int, err error) {
	n, err = l.attend(l.rawRead)
	buf, l.lent = l.lent, nil
	return buf, n, err
}

func (l *link) rawRead() (int, error) {
	l.n, l.errno = 0, nil
	if err := l.raw.Read(l.try); err != nil {
		return 0, err
	}
	if l.n == 0 && l.errno == nil {
		return 0, io.EOF
	}
	return l.n, l.errno
}

func (l *link) tryRead(fd uintptr) bool {
	buf := getBuffer()
	for {
		n, err := syscall.Read(int(fd), buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			putBuffer(buf)
			return false
		case err != nil:
			l.errno = os.NewSyscallError("read", err)
		case n > 0:
			l.lent, l.n = buf, n
			return true
		}
		putBuffer(buf)
		return true
	}
}

// attend calls read until it has something, sends the heartbeats that fall due meanwhile, and gives up on a silent peer.
func (l *link) attend(read func() (int, error)) (int, error) {
	for {
		if err := l.prepare(); err != nil {
			return 0, err
		}
		n, err := read()
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// prepare sends a heartbeat that is due, and sets the deadline of the next read.
func (l *link) prepare() error {
	if l.interval == 0 && l.dead.IsZero() {
		return l.arm(time.Time{})
	}
	now := time.Now()
	if l.newLine {
		l.newLine = false
		l.dead = now.Add(2 * l.interval)
	}
	if !now.Before(l.dead) {
		return errSilent
	}
	if l.beat == nil || l.interval == 0 {
		return l.arm(l.dead)
	}
	if !now.Before(l.nextBeat) {
		l.nextBeat = now.Add(l.interval)
		if err := l.beat(); err != nil {
			return err
		}
	}
	if l.nextBeat.Before(l.dead) {
		return l.arm(l.nextBeat)
	}
	return l.arm(l.dead)
}

func (l *link) arm(deadline time.Time) error {
	if deadline.Equal(l.armed) {
		return nil
	}
	l.armed = deadline
	return l.Conn.SetReadDeadline(deadline)
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
	if l.writeLimit > 0 {
		if now := time.Now(); l.writeArmed.Before(now.Add(l.writeLimit / 2)) {
			l.writeArmed = now.Add(l.writeLimit)
			_ = l.Conn.SetWriteDeadline(l.writeArmed)
		}
	}
	l.wmu.Unlock()
	return l.Conn.Write(p)
}

// bufferSize is the size of pooled buffers: a batch of messages in one read or write.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func getBuffer() []byte { return buffers.Get().(*[bufferSize]byte)[:] }

// putBuffer gives back a buffer of getBuffer, which may have been resliced from its start; one that has grown is dropped.
func putBuffer(b []byte) {
	if cap(b) == bufferSize {
		buffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}
