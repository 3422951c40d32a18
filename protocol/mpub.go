package protocol

import (
	"encoding/binary"
	"io"
)

// MpubLimits bounds what an MPUB body may hold.
type MpubLimits struct {
	MaxMsgSize  int64 // bytes of one message
	MaxBodySize int64 // bytes of the whole
}

// CheckCount checks the number of messages that an MPUB body announces: 1 to (MaxBodySize-4)/5, as each takes five bytes
// or more.
func (l MpubLimits) CheckCount(count int32) error {
	if count <= 0 || int64(count) > (l.MaxBodySize-4)/5 {
		return Errorf(CodeBadBody, "MPUB invalid message count %d", count)
	}
	return nil
}

// CheckSize checks the size that message i, counted from 0, announces.
func (l MpubLimits) CheckSize(i int, size int32) error {
	if size > 0 && int64(size) <= l.MaxMsgSize { // the compiler puts this much where it is called
		return nil
	}
	return l.sizeError(i, size)
}

func (l MpubLimits) sizeError(i int, size int32) error {
	if size <= 0 {
		return Errorf(CodeBadMessage, "MPUB invalid message(%d) body size %d", i, size)
	}
	return Errorf(CodeBadMessage, "MPUB message too big %d > %d", size, l.MaxMsgSize)
}

// WalkMpub calls f with each message of an MPUB body: a four-byte count, then for each a four-byte size and that many
// bytes, views of body. It stops at the first *Error, or at the first error of f. Bytes behind the last message are ignored.
func WalkMpub(body []byte, l MpubLimits, f func(message []byte) error) error {
	if len(body) < 4 {
		return Errorf(CodeBadBody, "MPUB failed to read message count").Because(io.ErrUnexpectedEOF)
	}
	count := int32(binary.BigEndian.Uint32(body))
	if err := l.CheckCount(count); err != nil {
		return err
	}
	body = body[4:]
	for i := range int(count) {
		if len(body) < 4 {
			return Errorf(CodeBadMessage, "MPUB failed to read message(%d) body size", i).Because(io.ErrUnexpectedEOF)
		}
		size := int32(binary.BigEndian.Uint32(body))
		if err := l.CheckSize(i, size); err != nil {
			return err
		}
		body = body[4:]
		if len(body) < int(size) {
			return Errorf(CodeBadMessage, "MPUB failed to read message body").Because(io.ErrUnexpectedEOF)
		}
		if err := f(body[:size:size]); err != nil {
			return err
		}
		body = body[size:]
	}
	return nil
}
