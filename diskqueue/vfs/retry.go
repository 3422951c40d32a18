package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"
)

// pauses are how long a failed read rests before it is tried again.
var pauses = [...]time.Duration{10 * time.Millisecond, 200 * time.Millisecond}

// Retry does something that reads, and again when it fails: an error of the disk may pass, and says nothing about what is on it.
// That a file or folder is not there, or is none, is an answer.
func Retry(read func() error) error {
	for _, pause := range pauses {
		err := read()
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotPlain) || errors.Is(err, syscall.ENOTDIR) {
			return err
		}
		time.Sleep(pause)
	}
	return read()
}

// ReadFull fills p from an offset on, with zeros behind the end of the file. What cannot be read is tried again.
func ReadFull(f File, p []byte, off int64) error {
	return Retry(func() error {
		n, err := f.ReadAt(p, off)
		if n < len(p) && (err == nil || errors.Is(err, io.EOF)) {
			clear(p[n:])
			return nil
		}
		if n == len(p) {
			return nil
		}
		return err
	})
}

// ReadFile returns the content of a file. What cannot be read is tried again.
func ReadFile(files FS, name string) (content []byte, err error) {
	err = Retry(func() error {
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() // read only
		content, err = readAll(f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return content, nil
}

// maxWhole is the size in bytes from which on a file is too large to be read at once.
const maxWhole = 1 << 30

func readAll(f File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxWhole {
		return nil, fmt.Errorf("%d bytes are more than %d", size, maxWhole)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if n == len(b) || errors.Is(err, io.EOF) {
		return b[:n], nil
	}
	return nil, err
}

// ReadTwice hands a file's content to use. When that finds it damaged, the file is read once more, from the disk and not from what
// the system remembers of it: memory and cables have faults too.
func ReadTwice(files FS, name string, use func([]byte) error, damaged func(error) bool) error {
	content, err := ReadFile(files, name)
	if err != nil {
		return err
	}
	if err = use(content); err == nil || !damaged(err) {
		return err
	}
	if forgetErr := Forget(files, name); forgetErr != nil {
		return errors.Join(err, forgetErr)
	}
	if content, err = ReadFile(files, name); err != nil {
		return err
	}
	return use(content)
}

// Forget has the system drop what it keeps of a file's content in memory.
func Forget(files FS, name string) error {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Forget(), f.Close())
}
