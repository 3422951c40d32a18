package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"brokerd/diskqueue/vfs"
)

var (
	// ErrUnwritten is an offset of a record that is still in memory, or that was lost with a failed write.
	ErrUnwritten = errors.New("the record is not written")
	// ErrReleased is an offset in a file that is not the log's any more.
	ErrReleased = errors.New("the record's file was released")
	// ErrDamaged is a record that cannot be read whole, twice, the second time from the disk.
	ErrDamaged = errors.New("the record is damaged")
)

// ReadAt reads the one record at an offset that Append has returned, or that was handed to replay, once it is
// written. The data is appended to dst. guess is how many bytes of data the caller expects, 0 when he does not know:
// with the right number the record is read at once. It waits for the disk, and for no lock while it does.
//
// It returns ErrUnwritten, ErrReleased, also when the file is released meanwhile, ErrDamaged, ErrClosed, or the error
// of a disk that cannot be read, which was tried again. Nothing but a record that is whole and was appended at this
// offset is ever returned.
func (l *Log) ReadAt(at Offset, guess int, dst []byte) (kind byte, data []byte, err error) {
	path, err := l.pathOf(at)
	if err != nil {
		return 0, dst, err
	}
	defer l.o.Disk.Call("read", path).Done()
	for _, anew := range []bool{false, true} {
		damage := error(nil)
		err = vfs.Retry(func() error {
			kind, data, err = readAt(l.o.FS, path, at, guess, dst, anew)
			if errors.Is(err, ErrDamaged) { // it is an answer, if not the last
				damage, err = err, nil
			}
			return err
		})
		if err = cmp.Or(err, damage); !errors.Is(err, ErrDamaged) {
			break
		}
	}
	if err == nil {
		return kind, data, nil
	}
	if _, gone := l.pathOf(at); errors.Is(gone, ErrReleased) || errors.Is(err, fs.ErrNotExist) {
		err = ErrReleased
	}
	return 0, dst, fmt.Errorf("read the log at %v: %w", at, err)
}

// pathOf returns where the file is that has the record at an offset.
func (l *Log) pathOf(at Offset) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return "", ErrClosed
	}
	if !at.Before(l.written) {
		return "", fmt.Errorf("%v: %w", at, ErrUnwritten)
	}
	for _, f := range slices.Backward(l.failures) {
		if f.level == Written && !at.Before(f.from) && at.Before(f.to) {
			return "", fmt.Errorf("%v: %w", at, ErrUnwritten)
		}
	}
	i := slices.IndexFunc(l.live, func(f *logFile) bool { return f.number == at.File })
	if i < 0 {
		return "", fmt.Errorf("%v: %w", at, ErrReleased)
	}
	return l.live[i].path, nil
}

// readAt reads a record of a file, from the disk and not from memory when that is asked for.
func readAt(files vfs.FS, path string, at Offset, guess int, dst []byte, anew bool) (kind byte, data []byte, err error) {
	if at.Offset < fileHeaderSize || at.Offset > 1<<62 {
		return 0, dst, fmt.Errorf("%w: no record begins at byte %d of a file", ErrDamaged, at.Offset)
	}
	file, err := files.Open(path)
	if err != nil {
		return 0, dst, err
	}
	defer file.Close() // read only
	if anew {
		if err := file.Forget(); err != nil {
			return 0, dst, err
		}
	}
	size, err := file.Size()
	if err != nil {
		return 0, dst, err
	}
	left := max(size-at.Offset, 0)
	base := len(dst)
	b, err := readPart(file, dst, at.Offset, min(recordHeaderSize+int64(max(guess, 0)), left))
	if err != nil {
		return 0, dst, err
	}
	var sums sumBuffer
	length, sound := parseRecordHeader(b[base:], at, &sums)
	if !sound || length > left-recordHeaderSize {
		return 0, dst, fmt.Errorf("%w: no record is there", ErrDamaged)
	}
	if more := recordHeaderSize + length - int64(len(b)-base); more > 0 {
		if b, err = readPart(file, b, at.Offset+int64(len(b)-base), more); err != nil {
			return 0, dst, err
		}
	}
	r, whole := parseData(b[base:], length)
	switch {
	case !whole:
		return 0, dst, fmt.Errorf("%w: its data is not what it was", ErrDamaged)
	case r.kind > MaxKind:
		return 0, dst, fmt.Errorf("%w: a record of the log's own is there", ErrDamaged)
	}
	return r.kind, b[:base+copy(b[base:], r.data)], nil
}

// readPart appends n bytes of a file to dst.
func readPart(file vfsFile, dst []byte, off, n int64) ([]byte, error) {
	base := len(dst)
	dst = slices.Grow(dst, int(n))[:base+int(n)]
	if got, err := file.ReadAt(dst[base:], off); got < int(n) && !errors.Is(err, io.EOF) {
		return dst[:base], err
	} else if got < int(n) {
		return dst[:base+got], nil // cut short since: it is no record then
	}
	return dst, nil
}
