package segment

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"brokerd/protocol"
)

// Sizes in bytes. What is in this file is on disk: it must not change without a new version.
const (
	fileHeaderSize  = 32
	blockHeaderSize = 36
	minFrame        = protocol.MessageOverhead
	maxFile         = math.MaxUint32

	knownSize = 16 // bytes of a file's header that are the same in every version
)

const (
	version    = 2
	fileMagic  = "bseg"
	blockMagic = "blk\x02"
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

// Whole reports whether the place is a whole file: then Length is the bytes of all frames that are needed of it.
func (r Ref) Whole() bool { return r.Offset == 0 }

// End returns the offset in the file behind the block's frames.
func (r Ref) End() int64 { return int64(r.Offset) + blockHeaderSize + int64(r.Length) }

func (r Ref) String() string {
	if r.Whole() {
		return FileName(r.File)
	}
	return fmt.Sprintf("%s at %d, %d bytes", FileName(r.File), r.Offset, r.Length)
}

// Block is messages and where they are. It speaks of the positions First to First+Count-1.
type Block struct {
	First uint64
	Count uint32
	Ref   Ref
	Held  uint32 // how many of them it has a message of, when not of all, which its section of runs says; else 0
}

// Run is positions that follow each other.
type Run struct {
	First uint64
	Count uint32
}

// Kinds of sections that are the segments' own.
const (
	sectionRuns = 1   // which positions the block has
	sectionName = 128 // the name of the topic, in the first block of a file
)

// appendRuns appends runs of a block whose first position is first: for each the distance from the end of the one before and its
// length, uvarints.
func appendRuns(dst []byte, first uint64, runs []Run) []byte {
	for _, r := range runs {
		dst = binary.AppendUvarint(dst, r.First-first)
		dst = binary.AppendUvarint(dst, uint64(r.Count))
		first = r.First + uint64(r.Count)
	}
	return dst
}

// parseRuns returns the runs of a block, ok false when they are not those of it.
func parseRuns(b []byte, block Block) (runs []Run, ok bool) {
	next, end, held := block.First, block.First+uint64(block.Count), uint64(0)
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 || gap > end-next {
			return nil, false
		}
		count, m := binary.Uvarint(b[n:])
		if m <= 0 || count == 0 || count > end-next-gap {
			return nil, false
		}
		runs = append(runs, Run{next + gap, uint32(count)})
		next += gap + count
		held += count
		b = b[n+m:]
	}
	return runs, held == uint64(block.Held)
}

// start is what the sums at a place of a file are started from.
func start(file, offset uint32) uint32 { return file*2654435761 + offset }

// owner is whom the files of a store belong to.
type owner struct {
	folder [8]byte
	topic  uint32
}

// appendFileHeader appends the header of the file with this number.
func appendFileHeader(dst []byte, o owner, file uint32) []byte {
	at := len(dst)
	dst = append(dst, fileMagic...)
	dst = binary.BigEndian.AppendUint32(dst, version)
	dst = binary.BigEndian.AppendUint32(dst, file)
	dst = binary.BigEndian.AppendUint32(dst, crc32.Update(start(file, 0), castagnoli, dst[at:]))
	dst = append(dst, o.folder[:]...)
	dst = binary.BigEndian.AppendUint32(dst, o.topic)
	return binary.BigEndian.AppendUint32(dst, crc32.Update(start(file, 0), castagnoli, dst[at:]))
}

// VersionOf returns the version of the format that the file with this number was written in, by its first 16 bytes; ok is false
// when they are no such header.
func VersionOf(head []byte, file uint32) (v uint32, ok bool) {
	if len(head) < knownSize || string(head[:4]) != fileMagic {
		return 0, false
	}
	sum := crc32.Update(start(file, 0), castagnoli, head[:12])
	return binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[12:]) == sum
}

// kindOfFile is what a file's header says of the file.
type kindOfFile uint8

const (
	ownFile     kindOfFile = iota
	brokenFile             // it is no header
	unknownFile            // of another version of the format
	foreignFile            // of another folder or topic, or of another number
)

// checkFileHeader looks at the header of the file with this number, and says what is wrong with it. An owner of zeros owns all.
func checkFileHeader(b []byte, o owner, file uint32) (kind kindOfFile, what string) {
	v, ok := VersionOf(b, file)
	switch {
	case !ok:
		if other, ok := numberIn(b); ok {
			return foreignFile, "it is " + FileName(other) + " of " + ownerOf(b).String()
		}
		return brokenFile, "file header"
	case v != version:
		return unknownFile, fmt.Sprintf("format version %d is not known", v)
	case binary.BigEndian.Uint32(b[28:]) != crc32.Update(start(file, 0), castagnoli, b[:28]):
		return brokenFile, "file header"
	}
	if theirs := ownerOf(b); o != (owner{}) && o != theirs {
		return foreignFile, "it belongs to " + theirs.String()
	}
	return ownFile, ""
}

// numberIn returns the number of the file that a header is of; ok is false when it is none.
func numberIn(b []byte) (file uint32, ok bool) {
	if len(b) < fileHeaderSize {
		return 0, false
	}
	file = binary.BigEndian.Uint32(b[8:])
	v, ok := VersionOf(b, file)
	return file, ok && v == version && binary.BigEndian.Uint32(b[28:]) == crc32.Update(start(file, 0), castagnoli, b[:28])
}

func ownerOf(b []byte) owner {
	return owner{folder: [8]byte(b[16:]), topic: binary.BigEndian.Uint32(b[24:])}
}

func (o owner) String() string { return fmt.Sprintf("folder %x, topic %d", o.folder, o.topic) }

// HeaderSize is the size in bytes of a file's header.
const HeaderSize = fileHeaderSize

// Foreign says whose the file with that number is by its header, when it is of another folder or topic, or has changed places with another one;
// empty: it is not.
func Foreign(head []byte, file uint32, folder [8]byte, topic uint32) (whose string) {
	if kind, what := checkFileHeader(head, owner{folder, topic}, file); kind == foreignFile {
		return what
	}
	return ""
}

// Section is something that a block has beside its frames. The kinds are registered in docs/FORMATS.md.
type Section struct {
	Kind uint8
	Data []byte // less than 16 MiB
}

// maxSection is the most bytes of one section.
const maxSection = 1<<24 - 1

// appendSections appends what stands behind the frames of a block.
func appendSections(dst []byte, sections []Section) ([]byte, error) {
	for _, s := range sections {
		if len(s.Data) > maxSection {
			return nil, fmt.Errorf("%w: a section of %d bytes", ErrTooLarge, len(s.Data))
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.Kind)<<24|uint32(len(s.Data)))
		dst = append(dst, s.Data...)
	}
	return dst, nil
}

// parseSections takes apart what stands behind the frames of a block. The data are views.
func parseSections(b []byte) (list []Section, ok bool) {
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, false
		}
		head := binary.BigEndian.Uint32(b)
		n := int(head & maxSection)
		if n > len(b)-4 {
			return nil, false
		}
		list = append(list, Section{Kind: uint8(head >> 24), Data: b[4 : 4+n : 4+n]})
		b = b[4+n:]
	}
	return list, true
}

// blockHeader is what stands before the frames of a block.
type blockHeader struct {
	Block
	extra    uint32 // bytes of sections behind the frames
	extraSum uint32 // their checksum
}

// end returns the offset behind the block.
func (h *blockHeader) end() int64 { return h.Ref.End() + int64(h.extra) }

func (h *blockHeader) append(dst []byte) []byte {
	at := len(dst)
	held := cmp.Or(h.Held, h.Count)
	dst = append(dst, blockMagic+"\x00\x00\x00\x00"...)
	dst = binary.BigEndian.AppendUint64(dst, h.First)
	for _, v := range [...]uint32{held, h.Count, h.Ref.Length, h.extra, h.extraSum} {
		dst = binary.BigEndian.AppendUint32(dst, v)
	}
	sum := crc32.Update(start(h.Ref.File, h.Ref.Offset), castagnoli, dst[at+8:])
	binary.BigEndian.PutUint32(dst[at+4:], sum)
	return dst
}

// parseBlockHeader decodes the header of a block; ok is false when it is not one of this place.
func parseBlockHeader(b []byte, file, offset uint32) (h blockHeader, ok bool) {
	b = b[:blockHeaderSize]
	h = blockHeader{
		Block: Block{
			First: binary.BigEndian.Uint64(b[8:]),
			Count: binary.BigEndian.Uint32(b[20:]),
			Ref:   Ref{File: file, Offset: offset, Length: binary.BigEndian.Uint32(b[24:])},
		},
		extra: binary.BigEndian.Uint32(b[28:]), extraSum: binary.BigEndian.Uint32(b[32:]),
	}
	held := binary.BigEndian.Uint32(b[16:])
	if held < h.Count {
		h.Held = held
	}
	ok = string(b[:4]) == blockMagic &&
		binary.BigEndian.Uint32(b[4:]) == crc32.Update(start(file, offset), castagnoli, b[8:]) &&
		held > 0 && held <= h.Count && uint64(h.Ref.Length) >= uint64(held)*minFrame &&
		h.First <= math.MaxUint64-uint64(h.Count) && h.end() <= maxFile
	return h, ok
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

// checkSize looks whether a file can hold a block of so many messages.
func checkSize(frames []byte, first uint64, count uint32) error {
	switch {
	case int64(len(frames)) > maxFile-fileHeaderSize-blockHeaderSize:
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(frames))
	case count == 0 || first > math.MaxUint64-uint64(count):
		return fmt.Errorf("%w: %d from %d on", ErrFrames, count, first)
	}
	return nil
}
