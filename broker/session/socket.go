package session

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"brokerd/broker/nowait"
)

// socket is a connection that is read and written without a detour where it has a file descriptor, and then waits for its
// peer without holding a buffer. One read and one write may run at the same time, no two of either.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil when there is no file descriptor
	in, out transfer
}

// transfer is one read or write under way. try is kept, as to make it anew for each would cost an allocation.
type transfer struct {
	p      []byte // to fill or to send; of a read, nil until there is something to read
	n      int
	errno  syscall.Errno
	waited bool // the peer was not ready at once
	once   bool // then that is all
	try    func(fd uintptr) (done bool)
}

// open must be called before anything else, with the socket where it is to stay.
func (s *socket) open(conn net.Conn) {
	s.Conn = conn
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.in.try, s.out.try = s.in.receive, s.out.send
}

// read fills p as far as there is something, or waits for it. When p is nil it takes a buffer from the pool, once there is
// something to read, which is the caller's when n is above 0.
func (s *socket) read(p []byte) (filled []byte, n int, err error) {
	if s.raw == nil {
		n, err = s.Conn.Read(p)
		return p, n, err
	}
	t := &s.in
	t.p, t.n, t.errno, t.waited = p, 0, 0, false
	err = s.raw.Read(t.try)
	filled, t.p = t.p, nil
	switch {
	case err != nil:
		return nil, 0, err
	case t.errno != 0:
		return nil, 0, os.NewSyscallError("read", t.errno)
	case t.n == 0:
		return nil, 0, io.EOF
	}
	return filled, t.n, nil
}

// readNow is read of what is there, into a buffer of the pool. It returns 0 when there is nothing, and when read must tell why.
func (s *socket) readNow() (filled []byte, n int) {
	if s.raw == nil {
		return nil, 0
	}
	t := &s.in
	t.p, t.n, t.errno, t.once = nil, 0, 0, true
	err := s.raw.Read(t.try)
	filled, t.p, t.once = t.p, nil, false
	if err != nil || t.errno != 0 || t.n == 0 {
		if filled != nil {
			putBuffer(filled)
		}
		return nil, 0
	}
	return filled, t.n
}

// writeNow sends as much of p as can be sent without waiting. The socket has a file descriptor.
func (s *socket) writeNow(p []byte) (n int, err error) {
	s.out.once = true
	defer func() { s.out.once = false }()
	return s.write(p)
}

// write sends all of p.
func (s *socket) write(p []byte) (n int, err error) {
	if s.raw == nil || len(p) == 0 {
		return s.Conn.Write(p)
	}
	t := &s.out
	t.p, t.n, t.errno = p, 0, 0
	err = s.raw.Write(t.try)
	t.p = nil
	if err == nil && t.errno != 0 {
		err = os.NewSyscallError("write", t.errno)
	}
	return t.n, err
}

func (t *transfer) receive(fd uintptr) (done bool) {
	p := t.p
	if p == nil {
		p = getBuffer()
	}
	for {
		n, errno := nowait.Receive(fd, p)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == 0 && n > 0:
			t.p, t.n = p, n
			return true
		}
		if t.p == nil {
			putBuffer(p)
		}
		if errno == syscall.EAGAIN {
			t.waited = true
			return t.once
		}
		t.errno = errno
		return true
	}
}

func (t *transfer) send(fd uintptr) (done bool) {
	for t.n < len(t.p) {
		n, errno := nowait.Send(fd, t.p[t.n:])
		switch errno {
		case 0:
			t.n += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			return t.once
		default:
			t.errno = errno
			return true
		}
	}
	return true
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
