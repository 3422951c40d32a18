package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
)

const checkpointPrefix = "checkpoint."

// What a checkpoint's file begins with; see the package comment.
const (
	checkpointMagic      = "brkdckpt"
	checkpointHeaderSize = 32
)

// checkpointBuffer is how many bytes of a checkpoint are written at once.
const checkpointBuffer = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checkpointName(dir string, n uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%06d", checkpointPrefix, n))
}

// checkpointNumber returns the number in a checkpoint's name.
func checkpointNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, checkpointPrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && checkpointName("", n) == name
}

func appendCheckpointHeader(dst []byte, folder [8]byte, number uint64) []byte {
	at := len(dst)
	dst = append(dst, checkpointMagic...)
	dst = binary.BigEndian.AppendUint32(dst, formatVersion)
	dst = append(dst, folder[:]...)
	dst = binary.BigEndian.AppendUint64(dst, number)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// parseCheckpointHeader reports whether b is the header of a checkpoint, and whose.
func parseCheckpointHeader(b []byte) (folder [8]byte, number uint64, ok bool) {
	if len(b) < checkpointHeaderSize || string(b[:8]) != checkpointMagic ||
		binary.BigEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return folder, 0, false
	}
	return [8]byte(b[12:]), binary.BigEndian.Uint64(b[20:]), true
}

// checkpointFile writes a file from its beginning to its end.
type checkpointFile struct {
	fs     vfs.FS
	name   string // it is .tmp until it is named
	number uint64
	f      vfs.File
	at     int64
	sum    uint32
	buf    *bufio.Writer
}

// createCheckpoint creates the file of a checkpoint beside its name.
func createCheckpoint(files vfs.FS, dir string, folder [8]byte, number uint64) (*checkpointFile, error) {
	name := checkpointName(dir, number)
	if err := files.Remove(name + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("writing a checkpoint: %w", err)
	}
	f, err := files.Create(name + ".tmp")
	if err != nil {
		return nil, fmt.Errorf("writing a checkpoint: %w", err)
	}
	c := &checkpointFile{fs: files, name: name, number: number, f: f}
	c.buf = bufio.NewWriterSize(checkpointEnd{c}, checkpointBuffer)
	_, err = c.Write(appendCheckpointHeader(nil, folder, number))
	return c, err
}

// Write gathers what is written.
func (c *checkpointFile) Write(b []byte) (int, error) { return c.buf.Write(b) }

// checkpointEnd writes to the end of the file.
type checkpointEnd struct{ *checkpointFile }

func (e checkpointEnd) Write(b []byte) (int, error) {
	n, err := e.f.WriteAt(b, e.at)
	e.at += int64(n)
	e.sum = crc32.Update(e.sum, castagnoli, b[:n])
	return n, err
}

// finish writes what is left and syncs, unless something has failed, and closes the file. It returns the first error.
func (c *checkpointFile) finish(failed error) error {
	err := failed
	if err == nil {
		err = c.buf.Flush()
	}
	if err == nil {
		err = c.f.Sync()
	}
	if e := c.f.Close(); err == nil {
		err = e
	}
	if err != nil && failed == nil {
		err = fmt.Errorf("writing a checkpoint: %w", err)
	}
	return err
}

// rename gives the finished file its name. The manifest does not have it yet.
func (c *checkpointFile) rename() error {
	if err := c.fs.Rename(c.name+".tmp", c.name); err != nil {
		return fmt.Errorf("naming a checkpoint: %w", err)
	}
	if err := c.fs.SyncDir(filepath.Dir(c.name)); err != nil {
		return fmt.Errorf("naming a checkpoint: %w", err)
	}
	return nil
}

// entry is what the manifest says of the file.
func (c *checkpointFile) entry(from journal.Offset) manifest.Checkpoint {
	return manifest.Checkpoint{Number: c.number, Size: uint64(c.at), Sum: c.sum, From: manifest.Offset(from)}
}

// readCheckpoint reads a checkpoint that the manifest names. journal.ErrCheckpoint means that it is not what it was, which was read
// twice; other errors, fs.ErrNotExist among them, are those of the file system and stay.
func readCheckpoint(files vfs.FS, dir string, folder [8]byte, c manifest.Checkpoint) (state *journal.State, err error) {
	name := checkpointName(dir, c.Number)
	for again := range 2 {
		if again > 0 {
			if err := vfs.Forget(files, name); err != nil {
				return nil, fmt.Errorf("reading a checkpoint again: %w", err)
			}
		}
		if state, err = readCheckpointOnce(files, name, folder, c); !errors.Is(err, journal.ErrCheckpoint) {
			return state, err
		}
	}
	return nil, err
}

func readCheckpointOnce(files vfs.FS, name string, folder [8]byte, c manifest.Checkpoint) (*journal.State, error) {
	var f vfs.File
	var size int64
	err := vfs.Retry(func() (err error) {
		if f, err = files.Open(name); err != nil {
			return err
		}
		if size, err = f.Size(); err != nil {
			_ = f.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening a checkpoint: %w", err)
	}
	defer f.Close() // read only
	if uint64(size) != c.Size {
		return nil, fmt.Errorf("%w: it has %d bytes and had %d", journal.ErrCheckpoint, size, c.Size)
	}
	src := &summedReader{f: f, left: size}
	head := make([]byte, checkpointHeaderSize)
	if _, err := io.ReadFull(src, head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	if of, number, ok := parseCheckpointHeader(head); !ok || of != folder || number != c.Number {
		return nil, fmt.Errorf("%w: it does not begin as checkpoint %d of this folder", journal.ErrCheckpoint, c.Number)
	}
	state, err := journal.ReadCheckpoint(src, size-checkpointHeaderSize)
	if src.failed != nil {
		return nil, fmt.Errorf("reading a checkpoint: %w", src.failed)
	}
	if err == nil && src.sum != c.Sum {
		err = fmt.Errorf("%w: its checksum is %08x and was %08x", journal.ErrCheckpoint, src.sum, c.Sum)
	}
	return state, err
}

// summedReader reads a file from its beginning, tries again what cannot be read, and makes the checksum.
type summedReader struct {
	f      vfs.File
	at     int64
	left   int64
	sum    uint32
	failed error // of the disk
}

func (r *summedReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.left)]
	if err := vfs.ReadFull(r.f, p, r.at); err != nil {
		r.failed = err
		return 0, err
	}
	r.at += int64(len(p))
	r.left -= int64(len(p))
	r.sum = crc32.Update(r.sum, castagnoli, p)
	return len(p), nil
}

// salvageCheckpoint reads a checkpoint of which no manifest says anything.
func salvageCheckpoint(files vfs.FS, name string) (folder [8]byte, state *journal.State, err error) {
	size, err := files.Size(name)
	if err != nil {
		return folder, nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	f, err := files.Open(name)
	if err != nil {
		return folder, nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	defer f.Close() // read only
	head := make([]byte, checkpointHeaderSize)
	src := &summedReader{f: f, left: size}
	if _, err := io.ReadFull(src, head); err != nil {
		return folder, nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	folder, _, ok := parseCheckpointHeader(head)
	if !ok {
		return folder, nil, fmt.Errorf("%w: it does not begin as one", journal.ErrCheckpoint)
	}
	state, err = journal.ReadCheckpoint(src, size-checkpointHeaderSize)
	return folder, state, err
}
