package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Kind is what a frame is. The values are on the wire.
type Kind uint8

// The kinds of the link itself. Others are free from FirstFree on.
const (
	kindHello   Kind = 1
	kindProof   Kind = 2
	kindWelcome Kind = 3
	kindRefusal Kind = 4
	kindPing    Kind = 5
	kindPong    Kind = 6

	FirstFree Kind = 16
)

const (
	frameHeader = 13
	// MaxFrame is the most bytes that the payload of a frame may have.
	MaxFrame = 16 << 20
)

// ErrFrame is bytes that are no frame.
var ErrFrame = errors.New("not a frame of a peer")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a frame. The payload must not be longer than MaxFrame.
func appendFrame(dst []byte, kind Kind, stream uint32, payload ...[]byte) []byte {
	at, length := len(dst), 0
	for _, p := range payload {
		length += len(p)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(length))
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = append(dst, byte(kind))
	dst = binary.BigEndian.AppendUint32(dst, stream)
	for _, p := range payload {
		dst = append(dst, p...)
	}
	binary.BigEndian.PutUint32(dst[at+4:], crc32.Checksum(dst[at+8:], castagnoli))
	return dst
}

// frame is one that was read.
type frame struct {
	kind    Kind
	stream  uint32
	payload []byte // its own: whoever gets it may keep it
}

// readFrame reads a frame whose payload has at most so many bytes.
func readFrame(r io.Reader, most int) (f frame, err error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if uint64(length) > uint64(most) {
		return f, fmt.Errorf("%w: %d bytes, %d are allowed", ErrFrame, length, most)
	}
	f = frame{kind: Kind(head[8]), stream: binary.BigEndian.Uint32(head[9:]), payload: make([]byte, length)}
	if _, err := io.ReadFull(r, f.payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	sum := crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, f.payload)
	if sum != binary.BigEndian.Uint32(head[4:]) {
		return frame{}, fmt.Errorf("%w: its checksum is wrong", ErrFrame)
	}
	return f, nil
}
