package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// errLongLine ends a connection, without an answer, as NSQ does.
var errLongLine = errors.New("command line is longer than 16384 bytes")

// input reads lines and bodies. It belongs to the session's reader.
type input struct {
	src    io.Reader
	link   *link        // not nil when src is the bare socket, whose reads can wait without a buffer
	before func() error // called before a read that may wait
	wakes  *wakes       // whom to serve then
	buf    []byte       // nil while nothing is buffered and the source is the bare socket
	r, w   int
}

// reset drops what is buffered and reads from src from now on.
func (in *input) reset(src io.Reader) {
	in.r, in.w = 0, 0
	in.src = src
	l, ok := src.(*link)
	in.link = nil
	if ok && l.raw != nil {
		in.link = l
	}
}

// release gives the buffer back for good.
func (in *input) release() {
	if in.buf != nil {
		putBuffer(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
	}
}

// fill reads at least one more byte behind what is buffered. Views of the buffer are invalid afterwards.
func (in *input) fill() error {
	if err := in.before(); err != nil {
		return err
	}
	if in.r == in.w {
		in.r, in.w = 0, 0
		if in.link != nil {
			return in.fillLent()
		}
	}
	in.wakes.pass()
	if in.buf == nil {
		in.buf = getBuffer()
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	n, err := in.src.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (in *input) fillLent() error {
	in.release()
	buf, n, err := in.link.readLent(in.wakes)
	if n > 0 {
		in.buf, in.w = buf, n
		return nil
	}
	return err
}

// line returns the next command line without its \n: a view that lives until the next call of input.
func (in *input) line() ([]byte, error) {
	scanned := 0
	for {
		if i := bytes.IndexByte(in.buf[in.r+scanned:in.w], '\n'); i >= 0 {
			i += scanned
			if i >= protocol.MaxLineLength {
				return nil, errLongLine
			}
			line := in.buf[in.r : in.r+i]
			in.r += i + 1
			return line, nil
		}
		scanned = in.w - in.r
		if scanned >= protocol.MaxLineLength {
			return nil, errLongLine
		}
		if err := in.fill(); err != nil {
			if scanned > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// size reads a big-endian int32.
func (in *input) size() (int32, error) {
	for in.w-in.r < 4 {
		if err := in.fill(); err != nil {
			return 0, unexpected(err)
		}
	}
	n := int32(binary.BigEndian.Uint32(in.buf[in.r:]))
	in.r += 4
	return n, nil
}

// take returns the next n bytes when they are buffered, nil when they are not: a view that lives until the next call of input.
func (in *input) take(n int) []byte {
	if in.w-in.r < n {
		return nil
	}
	p := in.buf[in.r : in.r+n]
	in.r += n
	return p
}

// body reads n bytes and hands them to add in parts, as they arrive.
func (in *input) body(n int, add func(part []byte)) error {
	for n > 0 {
		if in.r == in.w {
			if err := in.fill(); err != nil {
				return unexpected(err)
			}
		}
		part := in.buf[in.r:min(in.w, in.r+n)]
		add(part)
		in.r += len(part)
		n -= len(part)
	}
	return nil
}

// directBytes is how much of a message must be missing for it to be read to where it belongs, not through the buffer.
const directBytes = bufferSize / 2

// message reads the n bytes of a body that the batch is open for.
func (in *input) message(n int, b *topic.Batch) error {
	for n > 0 {
		var got int
		if in.r == in.w && in.link != nil && n >= directBytes {
			if err := in.before(); err != nil {
				return unexpected(err)
			}
			in.wakes.pass()
			in.release()
			var err error
			if got, err = b.Fill(in.link.Read); err != nil && got == 0 {
				return unexpected(err)
			}
		} else {
			if in.r == in.w {
				if err := in.fill(); err != nil {
					return unexpected(err)
				}
			}
			got = min(in.w-in.r, n)
			b.Extend(in.buf[in.r : in.r+got])
			in.r += got
		}
		n -= got
	}
	return nil
}

// unexpected turns the end of the stream into an error: something was announced that did not come.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
