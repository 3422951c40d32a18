package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Magic opens a connection of this protocol.
const Magic = "  V2"

// FrameType tells what a frame carries.
type FrameType int32

// The frame types.
const (
	FrameResponse FrameType = 0
	FrameError    FrameType = 1
	FrameMessage  FrameType = 2
)

// Sizes of the parts of a frame, in bytes.
const (
	FrameHeaderSize   = 8                                   // size and type
	MessageHeaderSize = 26                                  // timestamp, attempts, id
	MessageOverhead   = FrameHeaderSize + MessageHeaderSize // what a message frame is longer than its body
)

// Offsets inside a message frame.
const (
	offsetTimestamp = FrameHeaderSize
	offsetAttempts  = offsetTimestamp + 8
	offsetID        = offsetAttempts + 2
)

// Payloads of response frames.
const (
	OK        = "OK"
	CloseWait = "CLOSE_WAIT"
	Heartbeat = "_heartbeat_"
)

// AppendFrame appends a frame of type t with the payload to dst.
func AppendFrame[T ~string | ~[]byte](dst []byte, t FrameType, payload T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(payload)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(t))
	return append(dst, payload...)
}

// AppendMessageHeader appends the first MessageOverhead bytes of a message frame whose body has bodyLen bytes. The frame
// is whole once that many bytes are appended.
func AppendMessageHeader(dst []byte, timestamp int64, attempts uint16, id MessageID, bodyLen int) []byte {
	at := len(dst)
	dst = AppendBlankMessage(dst, bodyLen)
	f := MessageFrame(dst[at:])
	f.SetTimestamp(timestamp)
	f.SetAttempts(attempts)
	f.SetID(id)
	return dst
}

// blank is the beginning of a message frame but for its size.
var blank = [MessageOverhead]byte{7: byte(FrameMessage), offsetAttempts + 1: 1}

// AppendBlankMessage is AppendMessageHeader for a message that is delivered for the first time, whose timestamp is to be set
// later, and so is its id, without which the frame is none.
func AppendBlankMessage(dst []byte, bodyLen int) []byte {
	at := len(dst)
	dst = append(dst, blank[:]...)
	binary.BigEndian.PutUint32(dst[at:], uint32(4+MessageHeaderSize+bodyLen))
	return dst
}

// MessageFrame is one whole message frame, a view of somebody's buffer: it lives as long as that.
type MessageFrame []byte

// FirstMessage returns the message frame at the start of b, which must hold only frames that were appended here: nothing
// is checked but the length.
func FirstMessage(b []byte) MessageFrame {
	return MessageFrame(b[:4+binary.BigEndian.Uint32(b)])
}

// Timestamp returns nanoseconds since the Unix epoch.
func (f MessageFrame) Timestamp() int64 {
	return int64(binary.BigEndian.Uint64(f[offsetTimestamp:]))
}

// SetTimestamp overwrites the timestamp.
func (f MessageFrame) SetTimestamp(ns int64) {
	binary.BigEndian.PutUint64(f[offsetTimestamp:], uint64(ns))
}

// Attempts returns the delivery count.
func (f MessageFrame) Attempts() uint16 { return binary.BigEndian.Uint16(f[offsetAttempts:]) }

// SetAttempts overwrites the delivery count.
func (f MessageFrame) SetAttempts(n uint16) { binary.BigEndian.PutUint16(f[offsetAttempts:], n) }

// ID returns the message's id; ok is false when its sixteen bytes are not lower-case hex.
func (f MessageFrame) ID() (id MessageID, ok bool) {
	return ParseMessageID(f[offsetID : offsetID+MessageIDLength])
}

// MustID is ID for a frame whose id is known to be one.
func (f MessageFrame) MustID() MessageID {
	return idOf(f[offsetID : offsetID+MessageIDLength])
}

// Has reports whether the message's id is the given one.
func (f MessageFrame) Has(id MessageID) bool {
	have, ok := f.ID()
	return ok && have == id
}

// SetID overwrites the id.
func (f MessageFrame) SetID(id MessageID) { id.put(f[offsetID:]) }

// Payload returns the frame without its size and type: what NSQ also keeps on disk as one record.
func (f MessageFrame) Payload() []byte { return f[FrameHeaderSize:] }

// Head returns a copy of the frame without its body: it still says how long that is.
func (f MessageFrame) Head() MessageFrame { return append(MessageFrame(nil), f[:MessageOverhead]...) }

// Whole reports whether the body is there.
func (f MessageFrame) Whole() bool { return len(f) == 4+int(binary.BigEndian.Uint32(f)) }

// Size returns the size of the whole frame, also when its body is not there.
func (f MessageFrame) Size() int { return 4 + int(binary.BigEndian.Uint32(f)) }

// Body returns the message's body.
func (f MessageFrame) Body() []byte { return f[MessageOverhead:] }

// Errors of ParseFrame.
var (
	ErrShortFrame   = errors.New("protocol: frame is not complete")
	ErrInvalidFrame = errors.New("protocol: invalid frame")
)

// ParseFrame returns the first frame of b, whose payload is a view of b, and how many bytes it takes. A frame that is not
// there whole is ErrShortFrame; one with an impossible size or type, or larger than maxSize bytes, is ErrInvalidFrame.
func ParseFrame(b []byte, maxSize int) (t FrameType, payload []byte, n int, err error) {
	if len(b) < FrameHeaderSize {
		return 0, nil, 0, ErrShortFrame
	}
	size := int64(int32(binary.BigEndian.Uint32(b)))
	t = FrameType(binary.BigEndian.Uint32(b[4:]))
	switch {
	case size < 4 || size > int64(maxSize):
		return 0, nil, 0, fmt.Errorf("%w: size %d, allowed 4 to %d", ErrInvalidFrame, size, maxSize)
	case t < FrameResponse || t > FrameMessage:
		return 0, nil, 0, fmt.Errorf("%w: type %d", ErrInvalidFrame, t)
	case t == FrameMessage && size < 4+MessageHeaderSize:
		return 0, nil, 0, fmt.Errorf("%w: message of size %d", ErrInvalidFrame, size)
	case int64(len(b)) < 4+size:
		return 0, nil, 0, ErrShortFrame
	}
	return t, b[FrameHeaderSize : 4+size], int(4 + size), nil
}
