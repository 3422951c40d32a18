package wholefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

const (
	// Most is how long a file may be in bytes where nobody says otherwise.
	Most = 16 << 20
	// pipeTime is for how long a pipe is waited for.
	pipeTime = 10 * time.Second
)

// Refusals.
var (
	ErrNotRegular = errors.New("is no regular file")
	ErrNothing    = errors.New("is a pipe that had nothing to say, or has been read before")
)

// Read returns what a file has that is read once. A pipe counts, as a shell's <(COMMAND) is one: when its writer has said all within 10 s. The error
// names the file.
func Read(path string) ([]byte, error) {
	f, state, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()                                 // it was only read
	_ = f.SetReadDeadline(time.Now().Add(pipeTime)) // what has no deadline does not wait
	text, err := upTo(f, path, Most)
	if err == nil && len(text) == 0 && state.Mode()&fs.ModeNamedPipe != 0 {
		return nil, fmt.Errorf("%q %w", path, ErrNothing)
	}
	return text, err
}

// Regular returns what a file has that may be read again and again, and what it was, nil when that is not known: it refuses what is no regular file, and
// one of more than most bytes. The error names the file.
func Regular(path string, most int64) (text []byte, state fs.FileInfo, err error) {
	f, state, err := open(path)
	if err != nil {
		return nil, state, err
	}
	defer f.Close() // it was only read
	if !state.Mode().IsRegular() {
		return nil, state, fmt.Errorf("%q %w", path, ErrNotRegular)
	}
	text, err = upTo(f, path, most)
	return text, state, err
}

// open does not wait for who writes to a pipe.
func open(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		state, _ := os.Stat(path) // a socket cannot be opened, but looked at
		return nil, state, err
	}
	state, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, state, nil
}

// upTo reads to the end, which comes within most bytes.
func upTo(f *os.File, path string, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(text)) > most:
		return nil, fmt.Errorf("%q has more than %d bytes", path, most)
	}
	return text, nil
}
