package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotPlain is a file of a data folder that is a link, a folder or a device. It is not followed: whoever can write into the folder, but not
// read what the daemon can, could have it read or written elsewhere.
var ErrNotPlain = errors.New("is no regular file, and links are not followed in a data folder")

// openPlain opens a regular file that is no symbolic link, and returns what it was then.
func openPlain(name string, flag int) (*os.File, fs.FileInfo, error) {
	if flag == os.O_RDONLY {
		flag |= nonBlock
	}
	f, err := os.OpenFile(name, flag|noFollow, fileMode)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENXIO) { // a link, a folder, a socket or pipe
		return nil, nil, fmt.Errorf("%s %w: %w", name, ErrNotPlain, err)
	}
	if err != nil {
		return nil, nil, err
	}
	state, err := f.Stat()
	if err == nil && !state.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", name, ErrNotPlain)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, state, nil
}

// OpenPlain opens a regular file of the system that is no symbolic link, for reading. The error is fs.ErrNotExist when there is none.
func OpenPlain(name string) (*os.File, error) {
	f, _, err := openPlain(name, os.O_RDONLY)
	return f, err
}

// maxPlain is the longest file that ReadPlain reads, in bytes.
const maxPlain = 1 << 30

// ReadPlain returns what stands in a regular file of the system that is no symbolic link. The error is fs.ErrNotExist when there is none.
func ReadPlain(name string) ([]byte, error) {
	f, state, err := openPlain(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	if state.Size() > maxPlain {
		return nil, &fs.PathError{Op: "read", Path: name, Err: syscall.EFBIG}
	}
	text := make([]byte, state.Size())
	n, err := f.ReadAt(text, 0)
	if n < len(text) {
		return nil, err
	}
	return text, nil
}
