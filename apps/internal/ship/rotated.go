package ship

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// mostDone is how many files that are done with are remembered.
const mostDone = 500

// rotated is a file that has the name of a followed one with something behind it, and that nobody has read.
type rotated struct {
	found
	of string // the path that it had
}

// rotatedName is what rotation puts behind a file's name: a number or a date.
var rotatedName = regexp.MustCompile(`[.-][0-9][0-9TZ:._-]*$`)

// clockStep is how much earlier than by the clock a file may seem to be written to.
const clockStep = 2 * time.Second

// addRotated begins files that were made under a name that is followed, and rotated away before anybody had looked, the oldest first.
func (t *tracker) addRotated(since time.Time) {
	candidates := t.doubted
	t.doubted = nil
	for _, pattern := range t.options.patterns {
		names, _ := filepath.Glob(pattern + `[.\-][0-9]*`) // the pattern is good
		for _, name := range names {
			info, err := os.Stat(name)
			of := rotatedName.ReplaceAllString(name, "")
			follows, _ := filepath.Match(pattern, of)
			if err != nil || !follows || !info.Mode().IsRegular() || t.options.excluded(name) || info.ModTime().Before(since.Add(-clockStep)) {
				continue
			}
			candidates = append(candidates, rotated{found{name, info}, of})
		}
	}
	slices.SortStableFunc(candidates, func(a, b rotated) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	for _, r := range candidates {
		if t.known(identify(r.info)) == nil {
			t.addIfNew(r)
		}
	}
}

// addIfNew begins a rotated file, unless it was read already, or may be a copy of a file that is about to be truncated.
func (t *tracker) addIfNew(r rotated) {
	file, info, err := open(r.path)
	if err != nil || identify(info) != identify(r.info) {
		return // it has moved on; whoever has its name is looked at by itself
	}
	defer file.Close()
	first := &entry{file: file}
	if _, err := first.look(); err != nil || info.Size() == 0 {
		return
	}
	for _, p := range t.done {
		if p.Inode == identify(info).inode && p.matches(file, info.Size()) && p.Offset == info.Size() {
			return
		}
	}
	switch t.likeness(r.of, first.print) {
	case same:
		if !t.warned[r.path] {
			t.warned[r.path] = true
			t.log.Info("leaving a file alone that is a copy of a followed one", "file", r.path)
		}
		return
	case perhaps:
		if !slices.ContainsFunc(t.doubted, func(d rotated) bool { return identify(d.info) == identify(r.info) }) {
			t.doubted = append(t.doubted, r)
		}
		return
	}
	t.log.Info("a file was rotated away before anybody had looked", "file", r.path)
	t.add(r.of, r.path, 0)
}

// likeness is what the first bytes of a file say about its being a copy of another.
type likeness int

const (
	different likeness = iota
	perhaps            // as far as both go they are the same
	same
)

// likeness compares a print with that of the file that is followed under a path.
func (t *tracker) likeness(path string, print []byte) likeness {
	for _, e := range t.entries {
		if e.path != path || e.detached || len(e.print) == 0 {
			continue
		}
		if len(print) == printSize && bytes.Equal(e.print, print) {
			return same
		}
		if bytes.HasPrefix(e.print, print) || bytes.HasPrefix(print, e.print) {
			return perhaps
		}
	}
	return different
}
