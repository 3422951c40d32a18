package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"brokerd/protocol"
)

// Sizes in bytes. What is in this file is on disk: it must not change without a new version.
const (
	fileHeaderSize  = 16
	blockHeaderSize = 24
	minFrame        = protocol.MessageOverhead
	maxFile         = math.MaxUint32
)

const (
	version    = 1
	fileMagic  = "bseg"
	blockMagic = "blk\x01"
)

// Offsets in a frame.
const (
	offsetSum = 4
	offsetID  = minFrame - protocol.MessageIDLength
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Ref is where a block is: the number of its file, the offset of its header in it, and the bytes of the frames behind that
// header.
type Ref struct {
	File, Offset, Length uint32
}

// end returns the offset behind the block.
func (r Ref) end() int64 { return int64(r.Offset) + blockHeaderSize + int64(r.Length) }

func (r Ref) String() string {
	return fmt.Sprintf("%s at %d, %d bytes", fileName(r.File), r.Offset, r.Length)
}

// Block is a run of messages and where it is. Its messages have the sequence numbers First to First+Count-1.
type Block struct {
	First uint64
	Count uint32
	Ref   Ref
}

// start is what the sums at a place of a file are started from.
func start(file, offset uint32) uint32 { return file*2654435761 + offset }

// appendFileHeader appends the header of the file with this number.
func appendFileHeader(dst []byte, file uint32) []byte {
	at := len(dst)
	dst = append(dst, fileMagic...)
	dst = binary.BigEndian.AppendUint32(dst, version)
	dst = binary.BigEndian.AppendUint32(dst, file)
	return binary.BigEndian.AppendUint32(dst, crc32.Update(start(file, 0), castagnoli, dst[at:]))
}

// checkFileHeader says what is wrong with the header of the file with this number; ok is false when the file was written
// in a format that is not known here.
func checkFileHeader(b []byte, file uint32) (what string, ok bool) {
	sum := crc32.Update(start(file, 0), castagnoli, b[:12])
	if string(b[:4]) != fileMagic || binary.BigEndian.Uint32(b[12:]) != sum {
		return "file header", true
	}
	if v := binary.BigEndian.Uint32(b[4:]); v != version {
		return fmt.Sprintf("format version %d is not known", v), false
	}
	return "", true
}

// appendBlockHeader appends the header of the block.
func appendBlockHeader(dst []byte, b Block) []byte {
	at := len(dst)
	dst = append(dst, blockMagic+"\x00\x00\x00\x00"...)
	dst = binary.BigEndian.AppendUint64(dst, b.First)
	dst = binary.BigEndian.AppendUint32(dst, b.Count)
	dst = binary.BigEndian.AppendUint32(dst, b.Ref.Length)
	sum := crc32.Update(start(b.Ref.File, b.Ref.Offset), castagnoli, dst[at+8:])
	binary.BigEndian.PutUint32(dst[at+4:], sum)
	return dst
}

// parseBlockHeader decodes the header of a block; ok is false when it is not one of this place.
func parseBlockHeader(h []byte, file, offset uint32) (b Block, ok bool) {
	h = h[:blockHeaderSize]
	b = Block{
		First: binary.BigEndian.Uint64(h[8:]),
		Count: binary.BigEndian.Uint32(h[16:]),
		Ref:   Ref{File: file, Offset: offset, Length: binary.BigEndian.Uint32(h[20:])},
	}
	ok = string(h[:4]) == blockMagic &&
		binary.BigEndian.Uint32(h[4:]) == crc32.Update(start(file, offset), castagnoli, h[8:]) &&
		b.Count > 0 && uint64(b.Ref.Length) >= uint64(b.Count)*minFrame &&
		b.First <= math.MaxUint64-uint64(b.Count) && b.Ref.end() <= maxFile
	return b, ok
}

// messageSum returns the sum of a frame as it is in memory, type 2.
func messageSum(frame []byte, start uint32, seq uint64) uint32 {
	return crc32.Update(start, castagnoli, frame) ^ uint32(seq)
}

// frameAt returns the frame whose size field is at b[at:], as far as the size is possible in b, else nil.
func frameAt(b []byte, at int) []byte {
	if len(b)-at < minFrame {
		return nil
	}
	size := binary.BigEndian.Uint32(b[at:])
	if size < minFrame-4 || uint64(size) > uint64(len(b)-at-4) {
		return nil
	}
	end := at + 4 + int(size)
	return b[at:end:end]
}

// checkFrames proves that b is count whole message frames, as Append needs them, and that a file can hold them.
func checkFrames(b []byte, first uint64, count int) error {
	if int64(len(b)) > maxFile-fileHeaderSize-blockHeaderSize {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	n := 0
	for at := 0; at < len(b); n++ {
		f := frameAt(b, at)
		if f == nil || binary.BigEndian.Uint32(f[offsetSum:]) != uint32(protocol.FrameMessage) {
			return fmt.Errorf("%w: no message frame at %d of %d bytes", ErrFrames, at, len(b))
		}
		at += len(f)
	}
	if n == 0 || n != count || first > math.MaxUint64-uint64(n) {
		return fmt.Errorf("%w: %d from %d on, not %d", ErrFrames, n, first, count)
	}
	return nil
}
