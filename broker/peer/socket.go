package peer

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"brokerd/broker/nowait"
)

// writeNow writes as much to a socket as it takes without waiting.
func writeNow(raw syscall.RawConn, b []byte) (n int, err error) {
	var failed syscall.Errno
	err = raw.Write(func(fd uintptr) (done bool) {
		for n < len(b) {
			wrote, errno := nowait.Send(fd, b[n:])
			switch errno {
			case 0:
				n += wrote
			case syscall.EINTR:
			case syscall.EAGAIN:
				return true
			default:
				failed = errno
				return true
			}
		}
		return true
	})
	if err == nil && failed != 0 {
		err = os.NewSyscallError("write", failed)
	}
	return n, err
}

// reader reads a connection, without a detour where it has a file descriptor. One read runs at a time. It fails when nothing comes for longer than
// silence: what is done between two reads may take as long as it wants.
type reader struct {
	conn  net.Conn
	raw   syscall.RawConn // nil: there is none
	set   time.Time       // when the deadline was
	p     []byte
	n     int
	errno syscall.Errno
}

func (r *reader) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(r.set) > silence/10 {
		if err := r.conn.SetReadDeadline(now.Add(silence)); err != nil {
			return 0, err
		}
		r.set = now
	}
	if r.raw == nil || len(p) == 0 {
		return r.conn.Read(p)
	}
	r.p, r.n, r.errno = p, 0, 0
	err := r.raw.Read(r.try)
	r.p = nil
	switch {
	case err != nil:
		return 0, err
	case r.errno != 0:
		return 0, os.NewSyscallError("read", r.errno)
	case r.n == 0:
		return 0, io.EOF
	}
	return r.n, nil
}

// try reads what there is, and reports false when that is nothing: then it is called again once there is something.
func (r *reader) try(fd uintptr) (done bool) {
	for {
		n, errno := nowait.Receive(fd, r.p)
		switch errno {
		case 0:
			r.n = n
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			r.errno = errno
			return true
		}
	}
}
