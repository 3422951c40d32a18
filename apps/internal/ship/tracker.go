package ship

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// tracker knows which files there are.
type tracker struct {
	options *options
	log     *slog.Logger
	now     func() time.Time

	mu      sync.Mutex
	entries []*entry
	done    []position // of files that are read to their ends, the newest last
	seen    time.Time  // of the last look
	changed bool       // since the state was last written
	warned  map[string]bool
	doubted []rotated // may be copies of files that are about to be truncated
}

func newTracker(o *options, log *slog.Logger) *tracker {
	return &tracker{options: o, log: log, now: time.Now, warned: make(map[string]bool)}
}

// found is a file that a pattern finds.
type found struct {
	path string
	info os.FileInfo
}

// paths returns the files that the patterns find, each once, in order of their names.
func (t *tracker) paths() []found {
	var list []found
	known := make(map[identity]bool)
	for _, pattern := range t.options.patterns {
		names, _ := filepath.Glob(pattern) // the pattern is good
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil || !info.Mode().IsRegular() || t.options.excluded(name) || known[identify(info)] {
				continue
			}
			known[identify(info)] = true
			list = append(list, found{name, info})
		}
	}
	return list
}

// look sees what has changed. At the first look of all, files are begun where --from says.
func (t *tracker) look(first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !first {
		t.addRotated(t.seen)
	}
	t.seen = t.now()
	there := make(map[*entry]bool)
	for _, f := range t.paths() {
		e := t.known(identify(f.info))
		if e == nil {
			if e = t.add(f.path, f.path, 0); e == nil {
				continue
			}
			if first && t.options.from == fromEnd {
				e.read, e.acked = e.size, e.size
			}
		} else {
			e.path = f.path
			e = t.refresh(e)
		}
		there[e] = true
	}
	for _, e := range t.entries {
		e.detached = !there[e]
	}
}

// known returns the entry that reads a file now.
func (t *tracker) known(id identity) *entry {
	for _, e := range slices.Backward(t.entries) {
		if e.id == id && e.file != nil {
			return e
		}
	}
	return nil
}

// add begins the file that is at a place now, and that belongs to a path, at an offset. It returns nil, and warns once, when it
// cannot be read.
func (t *tracker) add(path, place string, offset int64) *entry {
	file, info, err := open(place)
	if err != nil {
		t.warnOnce(path, err)
		return nil
	}
	delete(t.warned, path)
	if i := slices.IndexFunc(t.done, func(p position) bool { return p.Inode == identify(info).inode && p.matches(file, info.Size()) }); i >= 0 {
		offset = t.done[i].Offset // more was written to it after all
		t.done = slices.Delete(t.done, i, i+1)
	}
	e := &entry{
		id: identify(info), path: path, file: file, size: info.Size(), read: offset, acked: offset, grown: t.now(),
		lines: liner{max: t.options.maxMessage}, joiner: joiner{start: t.options.start, continues: t.options.continues, max: t.options.maxMessage},
	}
	if _, err := e.look(); err != nil {
		t.warnOnce(path, err)
	}
	for _, older := range t.entries {
		if older.path == path {
			e.before = older
		}
	}
	t.entries, t.changed = append(t.entries, e), true
	t.log.Info("following a file", "file", place, "offset", offset)
	return e
}

func (t *tracker) warnOnce(path string, err error) {
	if !t.warned[path] {
		t.warned[path] = true
		t.log.Warn("cannot read a file, will try again", "file", path, "error", err)
	}
}

func open(path string) (*os.File, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// refresh looks at an entry's file again, and returns the entry that reads it now: another one if it was truncated.
func (t *tracker) refresh(e *entry) *entry {
	info, err := e.file.Stat()
	if err != nil {
		t.warnOnce(e.path, err)
		return e
	}
	if info.Size() == e.size && len(e.print) > 0 {
		return e
	}
	same, err := e.look()
	switch {
	case err != nil:
		t.warnOnce(e.path, err)
		return e
	case !same || info.Size() < e.read:
		return t.truncated(e)
	}
	e.size, e.grown = info.Size(), t.now()
	return e
}

// truncated begins the file anew, and lets the entry read on in a copy of what the file was.
func (t *tracker) truncated(e *entry) *entry {
	t.log.Info("a file was truncated", "file", e.path)
	fresh := t.add(e.path, e.path, 0)
	e.file.Close()
	e.file, e.detached = nil, true
	copied, info := t.beside(e.path, func(file *os.File, info os.FileInfo) bool {
		return identify(info) != e.id && e.position().at(e.read).matches(file, info.Size())
	})
	if copied != nil {
		e.file, e.id, e.size, e.grown = copied, identify(info), info.Size(), t.now()
		t.log.Info("reading on in a copy of what it was", "file", copied.Name(), "bytes", e.size-e.read)
	} else if e.size > e.read {
		t.log.Warn("what was not read of a file is gone: no copy of it is beside it", "file", e.path, "bytes", e.size-e.read)
	}
	if fresh == nil {
		return e
	}
	return fresh
}

// at is the position with another offset.
func (p position) at(offset int64) position {
	p.Offset = offset
	return p
}

// beside opens the newest file in the folder of path that is what was asked for.
func (t *tracker) beside(path string, is func(*os.File, os.FileInfo) bool) (*os.File, os.FileInfo) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, nil
	}
	var best *os.File
	var bestInfo os.FileInfo
	for _, other := range entries {
		if !other.Type().IsRegular() {
			continue
		}
		file, info, err := open(filepath.Join(filepath.Dir(path), other.Name()))
		if err != nil {
			continue
		}
		if is(file, info) && (best == nil || info.ModTime().After(bestInfo.ModTime())) {
			file, best, bestInfo = best, file, info
		}
		if file != nil {
			file.Close()
		}
	}
	return best, bestInfo
}

// resume finds the files of the state.
func (t *tracker) resume(s state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done, t.seen = s.Done, time.Unix(0, s.Seen)
	for _, p := range s.Files {
		t.resumeOne(p)
	}
}

// resumeOne finds the file of a position: by its inode under its name or beside it, else by its print alone.
func (t *tracker) resumeOne(p position) {
	file, _ := t.beside(p.Path, func(file *os.File, info os.FileInfo) bool {
		return identify(info).inode == p.Inode && p.matches(file, info.Size())
	})
	if file == nil && p.PrintLength > 0 {
		file, _ = t.beside(p.Path, func(file *os.File, info os.FileInfo) bool {
			return t.known(identify(info)) == nil && p.matches(file, info.Size())
		})
	}
	if file == nil {
		t.log.Warn("a file is gone; if something in it was not published yet, it is lost", "file", p.Path, "offset", p.Offset)
		t.changed = true
		return
	}
	defer file.Close()
	t.add(p.Path, file.Name(), p.Offset)
}

// state returns what is to be written down, and whether it differs from what was. Finished entries that are published go.
func (t *tracker) state() (state, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = slices.DeleteFunc(t.entries, func(e *entry) bool {
		done := e.finished && e.acked >= e.read
		if done {
			t.changed = true
			t.log.Info("done with a file", "file", e.path)
			t.forget(e)
		}
		return done
	})
	s := state{Seen: t.seen.UnixNano(), Files: []position{}, Done: slices.Clone(t.done)}
	for _, e := range t.entries {
		s.Files = append(s.Files, e.position())
	}
	changed := t.changed
	t.changed = false
	return s, changed
}

// forget closes an entry that is done, notes where it ended, and lets no other wait for it.
func (t *tracker) forget(gone *entry) {
	if gone.file != nil {
		gone.file.Close()
		if len(gone.print) > 0 {
			t.done = append(t.done, gone.position())
			t.done = t.done[max(0, len(t.done)-mostDone):]
		}
	}
	for _, e := range t.entries {
		if e.before == gone {
			e.before = nil
		}
	}
}

// close closes all files.
func (t *tracker) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var failed error
	for _, e := range t.entries {
		if e.file != nil {
			failed = errors.Join(failed, e.file.Close())
		}
	}
	t.entries = nil
	return failed
}
