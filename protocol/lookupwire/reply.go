package lookupwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ReplyOK is the payload of the reply to everything but IDENTIFY.
const ReplyOK = "OK"

// ErrReplySize is returned for a reply whose size is negative or above the reader's limit.
var ErrReplySize = errors.New("size of the reply out of range")

// AppendReply appends a framed reply.
func AppendReply[T ~string | ~[]byte](dst []byte, payload T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	return append(dst, payload...)
}

// replyStep is how much of a reply is made room for before more of it has arrived.
const replyStep = 4 << 10

// ReadReply reads one reply and returns its payload, in buf's memory when it has room. A reply above limit bytes is refused
// with ErrReplySize; memory grows only with what arrives. An end of the stream before the first byte is io.EOF, later
// io.ErrUnexpectedEOF.
func ReadReply(r io.Reader, buf []byte, limit int) ([]byte, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(prefix[:])))
	if size < 0 || size > limit {
		return nil, fmt.Errorf("%w: %d of at most %d bytes", ErrReplySize, size, limit)
	}
	buf = buf[:0]
	for len(buf) < size {
		from := len(buf)
		step := min(size-from, max(replyStep, from))
		buf = slices.Grow(buf, step)[:from+step]
		if _, err := io.ReadFull(r, buf[from:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}
