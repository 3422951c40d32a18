package tofile

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"brokerd/apps/appkit"
)

// folders are where files are written, and where they end. Without a work folder they are the same.
type folders struct{ work, output string }

func (f folders) separate() bool { return f.work != f.output }

// output is a file that is being written.
type output struct {
	folders
	held   *held
	file   *os.File  // nil once it is closed
	name   string    // relative, with <REV> left in it
	path   string    // in the work folder
	opened time.Time // by the clock of the messages
	lines  int64     // bytes before they were packed, with those that were there when it was opened
	log    *slog.Logger
}

// errTaken tells that a revision cannot be written, but the next one may.
var errTaken = errors.New("the file exists already, or another process writes it: <REV> or <PID> in --filename-format tells files apart")

// opening says how to open a file.
type opening struct {
	exclusive bool   // it must be new
	limit     int64  // bytes, up to which one that exists is continued; 0 is no limit
	head      []byte // with which a new one begins
}

// openOutput opens one revision of a file.
func openOutput(f folders, name string, rev int, how opening, log *slog.Logger) (*output, error) {
	path := revise(name, rev)
	if f.separate() && exists(filepath.Join(f.output, path)) {
		return nil, errTaken
	}
	h, err := hold(f.work, name, rev)
	if errors.Is(err, appkit.ErrLocked) {
		return nil, errTaken
	}
	if err != nil {
		return nil, err
	}
	o := &output{folders: f, held: h, name: name, path: filepath.Join(f.work, path), log: log}
	if h.unsettled {
		if err := o.settle(); err != nil {
			return nil, err
		}
		return nil, errAgain
	}
	if err := o.open(how); err != nil {
		return nil, errors.Join(err, h.release())
	}
	return o, nil
}

// errAgain tells that what another process had left was settled, and opening can be tried again.
var errAgain = errors.New("a file was settled")

func (o *output) open(how opening) error {
	flags := os.O_CREATE | os.O_WRONLY
	if how.exclusive {
		flags |= os.O_EXCL
	}
	if err := os.MkdirAll(filepath.Dir(o.path), 0o770); err != nil {
		return err
	}
	file, err := os.OpenFile(o.path, flags, 0o666)
	if errors.Is(err, os.ErrExist) {
		return errTaken
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && how.limit > 0 && info.Size() > how.limit {
		err = errTaken
	}
	if err == nil {
		err = syncFolders(o.work, o.path)
	}
	if err == nil {
		o.file, o.lines = file, info.Size()
		err = o.begin(how.head)
	}
	if err != nil {
		file.Close()
		o.file = nil
	}
	return err
}

// begin gives an empty file its head.
func (o *output) begin(head []byte) error {
	if len(head) == 0 || o.lines > 0 {
		return nil
	}
	err := o.write(head)
	if err != nil {
		return errors.Join(err, os.Remove(o.path)) // nothing was in it
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// syncFolders makes sure that a file is found after a loss of power: its folder, and each one up to root.
func syncFolders(root, path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if err := appkit.SyncFolder(dir); err != nil {
			return err
		}
		if dir == root || len(dir) <= len(root) {
			return nil
		}
	}
}

// misplaced reports whether the file's name is gone, or another file's: somebody has moved or removed it.
func (o *output) misplaced() bool {
	there, err := os.Stat(o.path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	mine, err := o.file.Stat()
	return err == nil && !os.SameFile(mine, there)
}

// write puts a piece behind what is in the file, and syncs. When that fails the piece is cut off again.
func (o *output) write(piece []byte) error {
	info, err := o.file.Stat() // the size is not taken as known, since others may have cut or continued the file
	if err != nil {
		return err
	}
	from := info.Size()
	if err := o.held.expect(from, from+int64(len(piece))); err != nil {
		return err
	}
	if _, err = o.file.WriteAt(piece, from); err == nil {
		err = o.file.Sync()
	}
	if err != nil {
		return errors.Join(err, o.file.Truncate(from))
	}
	return nil
}

// finish closes the file and moves it to the output folder. After an error it can be called again.
func (o *output) finish() error {
	if o.file != nil {
		if err := o.file.Close(); err != nil {
			return err
		}
		o.file = nil
	}
	if o.separate() {
		if err := o.move(); err != nil {
			return fmt.Errorf("moving %s to the output folder: %w", o.path, err)
		}
	}
	return o.held.release()
}

// abandon closes the file and leaves it and its record where they are.
func (o *output) abandon() {
	if o.file != nil {
		o.file.Close()
	}
	o.held.keep()
}

// move gives the file its place in the output folder, under the first revision that is free.
func (o *output) move() error {
	for rev := o.held.rev; ; rev++ {
		target := filepath.Join(o.output, revise(o.name, rev))
		if err := os.MkdirAll(filepath.Dir(target), 0o770); err != nil {
			return err
		}
		switch err := os.Link(o.path, target); {
		case errors.Is(err, os.ErrNotExist) && !exists(o.path):
			o.log.Warn("a file is no longer in the work folder", "file", o.path)
			return nil
		case errors.Is(err, os.ErrExist) && !sameFile(o.path, target):
			o.log.Warn("a file of that name is in the output folder already, taking the next revision", "file", target)
			continue
		case errors.Is(err, syscall.EXDEV):
			if err := copyTo(target, o.path); errors.Is(err, os.ErrExist) {
				continue
			} else if err != nil {
				return err
			}
		case err != nil && !errors.Is(err, os.ErrExist):
			return err
		}
		if err := syncFolders(o.output, target); err != nil {
			return err
		}
		if err := os.Remove(o.path); err != nil {
			return err
		}
		return appkit.SyncFolder(filepath.Dir(o.path))
	}
}

func sameFile(a, b string) bool {
	one, err := os.Lstat(a)
	if err != nil {
		return false
	}
	two, err := os.Lstat(b)
	return err == nil && os.SameFile(one, two)
}

// copyTo makes target a copy of the file at path, on another file system. It does not overwrite: the error is os.ErrExist then.
func copyTo(target, path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(filepath.Dir(target), ".tofile-*")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name())
	defer to.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if err := to.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	return os.Link(to.Name(), target)
}

// settle makes a file whole that a process left open, and moves it where it belongs. One that has nothing in it goes.
func (o *output) settle() error {
	left, err := o.cut()
	switch {
	case err != nil:
		o.held.keep()
		return fmt.Errorf("settling %s: %w", o.path, err)
	case left == 0:
		return o.held.release()
	}
	if err := o.finish(); err != nil {
		o.abandon()
		return err
	}
	o.log.Info("settled a file that another process had left", "file", o.path)
	return nil
}

// cut takes the part of an unfinished piece off, and returns how many bytes are left. It removes a file that has none, and one that is
// gone already counts as such.
func (o *output) cut() (int64, error) {
	file, err := os.OpenFile(o.path, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if o.held.from < size && size < o.held.to {
		o.log.Warn("cutting off what was half written; its messages were not finished", "file", o.path, "bytes", size-o.held.from)
		size = o.held.from
		err = file.Truncate(size)
	}
	if err == nil && size == 0 {
		return 0, os.Remove(o.path)
	}
	return size, errors.Join(err, file.Sync())
}

// settleAll settles every file in the work folder that has a record which nobody holds.
func settleAll(f folders, log *slog.Logger) error {
	for _, folder := range []string{f.work, f.output} {
		probes, _ := filepath.Glob(filepath.Join(folder, recordFolder, probePrefix+"*")) // the pattern is good
		for _, probe := range probes {
			os.Remove(probe)
		}
	}
	dir := filepath.Join(f.work, recordFolder)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		h, err := take(filepath.Join(dir, entry.Name()))
		switch {
		case errors.Is(err, appkit.ErrLocked), errors.Is(err, os.ErrNotExist):
			continue // it is another process's
		case errors.Is(err, errRecord):
			log.Warn("leaving alone what is not a record of a file", "file", filepath.Join(dir, entry.Name()))
			continue
		case err != nil:
			return err
		}
		o := &output{folders: f, held: h, name: h.name, path: filepath.Join(f.work, revise(h.name, h.rev)), log: log}
		if err := o.settle(); err != nil {
			return err
		}
	}
	return nil
}
