package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
)

// What is on disk; see the package comment. Never change these, make another version.
const (
	magic            = "brkdwal\n"
	version          = 2
	fileHeaderSize   = 64
	recordHeaderSize = 13
	markSize         = 24
	kindMark         = 255

	// MaxKind is the highest kind that callers may use; the lowest is 1.
	MaxKind = 239
	// MaxData is the most bytes that a record may hold.
	MaxData = 1 << 30
)

const (
	extLive  = ".wal"
	extSpare = ".spare"
	extBad   = ".bad"
)

// ErrVersion is a log that another version has written.
var ErrVersion = errors.New("the log's format is not known to this version")

// VersionError says which version a file has. It is an ErrVersion.
type VersionError struct {
	File    string // its path
	Version uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has version %d: %v", e.File, e.Version, ErrVersion)
}

// Unwrap returns ErrVersion.
func (e *VersionError) Unwrap() error { return ErrVersion }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is a file's header.
type header struct {
	number   uint64
	unproven uint32 // of so many numbers before this one no sync has proven the names, and one has failed
	prev     Offset // where the log ended before this file
	size     int64
	folder   [8]byte
}

// doubts reports whether the header says that a power cut may have taken a file: its name was not proven when this one was begun, behind a sync that failed.
func (h *header) doubts(number uint64) bool {
	return number < h.number && h.number-number <= uint64(h.unproven)
}

func (h header) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, h.unproven)
	dst = binary.LittleEndian.AppendUint64(dst, h.number)
	dst = binary.LittleEndian.AppendUint64(dst, h.prev.File)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.prev.Offset))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.size))
	dst = append(dst, h.folder[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// parseHeader returns false when the bytes are no header of that file, and ErrVersion when they are one of another version.
func parseHeader(b []byte, number uint64) (h header, ok bool, err error) {
	switch v, ok := VersionOf(b); {
	case !ok:
		return h, false, nil
	case v != version:
		return h, false, &VersionError{Version: v}
	}
	h.unproven = binary.LittleEndian.Uint32(b[12:])
	h.number = binary.LittleEndian.Uint64(b[16:])
	h.prev.File = binary.LittleEndian.Uint64(b[24:])
	h.prev.Offset = int64(binary.LittleEndian.Uint64(b[32:]))
	h.size = int64(binary.LittleEndian.Uint64(b[40:]))
	h.folder = [8]byte(b[48:])
	return h, h.number == number, nil
}

// appendRecordHeader appends a record's header; the data, length bytes with the checksum sum, must follow.
func appendRecordHeader(dst []byte, at Offset, kind byte, length int, sum uint32, buf *sumBuffer) []byte {
	n := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(length))
	dst = append(dst, kind)
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	binary.LittleEndian.PutUint32(dst[n:], buf.headerSum(at, dst[n+4:]))
	return dst
}

// sumBuffer is where a checksum's input is put together; one on the stack would escape.
type sumBuffer [25]byte

// headerSum is the checksum of a place and the 9 bytes of a record's header behind it.
func (b *sumBuffer) headerSum(at Offset, rest []byte) uint32 {
	binary.LittleEndian.PutUint64(b[0:], at.File)
	binary.LittleEndian.PutUint64(b[8:], uint64(at.Offset))
	copy(b[16:], rest[:9])
	return crc32.Checksum(b[:], castagnoli)
}

// record is what parseRecord found.
type record struct {
	kind byte
	data []byte // a view
	size int64  // bytes of header and data
}

// parseRecord reads the record at off of a file's bytes. sound says that the header is right, and then how far the record
// goes; whole, that its data is right too.
func parseRecord(b []byte, number uint64, off int64, buf *sumBuffer) (r record, sound, whole bool) {
	left := b[off:]
	length, sound := parseRecordHeader(left, Offset{number, off}, buf)
	if !sound || length > int64(len(left)-recordHeaderSize) {
		return r, false, false
	}
	r, whole = parseData(left, length)
	return r, true, whole
}

// parseData returns the record that b begins with, whose header is right and says that it has length bytes of data.
func parseData(b []byte, length int64) (r record, whole bool) {
	if int64(len(b)-recordHeaderSize) < length {
		return r, false
	}
	r.kind = b[8]
	r.size = recordHeaderSize + length
	r.data = b[recordHeaderSize:r.size:r.size]
	return r, crc32.Checksum(r.data, castagnoli) == binary.LittleEndian.Uint32(b[9:])
}

// parseRecordHeader returns how many bytes of data the record at an offset has whose first bytes are b; ok is false when they are no
// record's header.
func parseRecordHeader(b []byte, at Offset, buf *sumBuffer) (length int64, ok bool) {
	if len(b) < recordHeaderSize || b[8] == 0 || buf.headerSum(at, b[4:]) != binary.LittleEndian.Uint32(b) {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint32(b[4:])), true
}

// mark is what a mark record says: all between since and upTo was synced.
type mark struct {
	since uint64
	upTo  Offset
}

func (m mark) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, m.since)
	dst = binary.LittleEndian.AppendUint64(dst, m.upTo.File)
	return binary.LittleEndian.AppendUint64(dst, uint64(m.upTo.Offset))
}

func parseMark(b []byte) (m mark, ok bool) {
	if len(b) != markSize {
		return m, false
	}
	m.since = binary.LittleEndian.Uint64(b)
	m.upTo.File = binary.LittleEndian.Uint64(b[8:])
	m.upTo.Offset = int64(binary.LittleEndian.Uint64(b[16:]))
	return m, true
}

func (m mark) covers(p Offset) bool { return p.File >= m.since && p.Before(m.upTo) }

func fileName(dir string, number uint64, ext string) string {
	return filepath.Join(dir, fmt.Sprintf("%016d%s", number, ext))
}

// parseName returns the number and the extension of one of the log's files.
func parseName(name string) (number uint64, ext string, ok bool) {
	ext = filepath.Ext(name)
	if ext != extLive && ext != extSpare && ext != extBad {
		return 0, "", false
	}
	digits := strings.TrimSuffix(name, ext)
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, ext, err == nil && number > 0 && len(digits) >= 16 && fmt.Sprintf("%016d", number) == digits
}

// VersionOf returns the version of the format that a file was written in, by its first 64 bytes; ok is false when they are no header.
func VersionOf(head []byte) (v uint32, ok bool) {
	if len(head) < fileHeaderSize || string(head[:8]) != magic ||
		crc32.Checksum(head[:60], castagnoli) != binary.LittleEndian.Uint32(head[60:]) {
		return 0, false
	}
	return binary.LittleEndian.Uint32(head[8:]), true
}
