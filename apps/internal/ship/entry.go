package ship

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

// identity is what the system knows a file by.
type identity struct{ device, inode uint64 }

// entry is one life of a file's contents.
type entry struct {
	id       identity
	path     string
	file     *os.File // nil when what is left of it is gone
	print    []byte   // its first bytes, as far as they are known
	size     int64    // when it was last looked at
	acked    int64    // offset up to which all is published
	read     int64    // offset up to which all is in the lines, the joiner and messages
	grown    time.Time
	before   *entry // is read first, as long as it has more; nil when that is over
	detached bool   // no pattern finds it any more
	ended    bool   // when it was last read, nothing followed
	finished bool   // its last message is under way

	lines   liner
	joiner  joiner
	joining time.Time // when the joiner took its last line
}

// look takes the print of the file, as far as it has one, and reports whether it is still the file it was.
func (e *entry) look() (bool, error) {
	first := make([]byte, printSize)
	n, err := e.file.ReadAt(first, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	first = first[:n]
	if !bytes.HasPrefix(first, e.print) {
		return false, nil
	}
	e.print = first
	return true, nil
}

// errTruncated tells that a file no longer has what was read from it.
var errTruncated = errors.New("the file was truncated")

// portion reads what follows, up to len(buffer) bytes, and none at the end.
func (e *entry) portion(buffer []byte) ([]byte, error) {
	n, err := e.file.ReadAt(buffer, e.read)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n == 0 {
		return nil, nil
	}
	same, err := e.look()
	if err == nil && !same {
		err = errTruncated
	}
	return buffer[:n], err
}

// position is the entry's line of the state.
func (e *entry) position() position {
	return position{Path: e.path, Device: e.id.device, Inode: e.id.inode, Offset: e.acked, PrintLength: len(e.print), Print: digest(e.print)}
}

// matches reports whether an open file is the one of a position: it begins the same, and has at least what was published.
func (p position) matches(file *os.File, size int64) bool {
	if size < p.Offset || size < int64(p.PrintLength) {
		return false
	}
	first := make([]byte, p.PrintLength)
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, int64(len(first))), first); err != nil {
		return false
	}
	return digest(first) == p.Print
}
