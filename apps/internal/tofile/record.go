package tofile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"brokerd/apps/appkit"
)

// recordFolder is where records are, below the work folder.
const recordFolder = ".tofile"

// record says which part of a file may be half written. Its format is in the package's comment.
type record struct {
	from, to int64 // offsets of the piece that is being written; equal: none is
	rev      int
	name     string // of the file, with <REV> left in it
}

func (r record) text() []byte {
	return fmt.Appendf(nil, "tofile 1 %020d %020d %010d\n%s\n", r.from, r.to, r.rev, r.name)
}

var errRecord = errors.New("it is not a record of a file")

// parseRecord reads what text wrote.
func parseRecord(text []byte) (record, error) {
	head, name, _ := strings.Cut(string(text), "\n")
	fields := strings.Split(head, " ")
	name, ended := strings.CutSuffix(name, "\n")
	if len(fields) != 5 || fields[0] != "tofile" || fields[1] != "1" || !ended || strings.Contains(name, "\n") || !filepath.IsLocal(name) {
		return record{}, errRecord
	}
	var numbers [3]int64
	for i, digits := range []int{20, 20, 10} {
		n, err := strconv.ParseInt(fields[2+i], 10, 64)
		if err != nil || n < 0 || len(fields[2+i]) != digits || fields[2+i][0] == '+' {
			return record{}, errRecord
		}
		numbers[i] = n
	}
	if numbers[0] > numbers[1] {
		return record{}, errRecord
	}
	return record{from: numbers[0], to: numbers[1], rev: int(numbers[2]), name: name}, nil
}

// recordPath is where the record of a file is; path is relative to the folder, with its revision.
func recordPath(folder, path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(folder, recordFolder, hex.EncodeToString(sum[:16]))
}

// held is a record that this process holds.
type held struct {
	file *os.File
	record
	unsettled bool // another process made it, and left it
}

// hold makes the record of a file and locks it, or takes one that nobody holds any more. The error wraps appkit.ErrLocked when
// another process is writing the file.
func hold(folder, name string, rev int) (*held, error) {
	path := recordPath(folder, revise(name, rev))
	for {
		if err := os.MkdirAll(filepath.Dir(path), 0o770); err != nil {
			return nil, err
		}
		h, err := lockRecord(path, os.O_CREATE)
		if errors.Is(err, os.ErrNotExist) {
			continue // the last record went, and the folder with it
		}
		if err != nil || h.unsettled {
			return h, err
		}
		h.record = record{name: name, rev: rev}
		if err := h.write(); err != nil {
			return nil, errors.Join(err, h.release())
		}
		return h, nil
	}
}

// take locks a record that is there already. The error wraps os.ErrNotExist when it is none any more.
func take(path string) (*held, error) {
	h, err := lockRecord(path, 0)
	if err == nil && !h.unsettled { // its process ended before it had written anything anywhere
		return nil, errors.Join(os.ErrNotExist, h.release())
	}
	return h, err
}

// lockRecord opens and locks a record, and reads it.
func lockRecord(path string, flags int) (*held, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o666)
	if err != nil {
		return nil, err
	}
	h := &held{file: f}
	if err := own(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	text, err := io.ReadAll(f)
	if err == nil && len(text) > 0 {
		h.unsettled = true
		h.record, err = parseRecord(text)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

// own locks a record. The error is os.ErrNotExist when the file has lost its name meanwhile, since its holder was done with it.
func own(f *os.File) error {
	if err := appkit.LockFile(f); err != nil {
		return err
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(f.Name())
	if err == nil && !os.SameFile(mine, there) {
		return os.ErrNotExist
	}
	return err
}

// expect notes that a piece is about to be written between two offsets.
func (h *held) expect(from, to int64) error {
	h.from, h.to = from, to
	return h.write()
}

func (h *held) write() error {
	if _, err := h.file.WriteAt(h.text(), 0); err != nil {
		return fmt.Errorf("writing the record of %s: %w", h.name, err)
	}
	return nil
}

// release removes the record: the file is whole, and where it belongs.
func (h *held) release() error {
	err := os.Remove(h.file.Name())
	os.Remove(filepath.Dir(h.file.Name())) // it may be in use, as it is by any other open file
	return errors.Join(err, h.file.Close())
}

// keep lets go of the record and leaves it, for a start to find.
func (h *held) keep() error { return h.file.Close() }
