package grant

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/protocol/wholefile"
)

// maxFile is the longest token file that is read, in bytes.
const maxFile = 16 << 20

// File is a token file that may change while it is in use. It is safe for concurrent use.
type File struct {
	path  string
	table atomic.Pointer[Table]

	mu    sync.Mutex
	state fs.FileInfo // of the file that was last looked at; guarded by mu
}

// Open reads a token file for the first time: then it must be there and right.
func Open(path string) (*File, error) {
	f := &File{path: path}
	if _, err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Check reports what is wrong with a token file, nil when it can be used.
func Check(path string) error {
	_, err := Open(path)
	return err
}

// Table returns what the file said when it was last read and right.
func (f *File) Table() *Table { return f.table.Load() }

// Refresh reads the file again if it is another than last time, and reports whether there is a new table. When the file is wrong
// the error says so, once for each change, and the last good table stays.
func (f *File) Refresh() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state, err := os.Stat(f.path)
	if err != nil {
		if f.state == nil {
			return false, nil // told before
		}
		f.state = nil
		return false, fmt.Errorf("token file: %w", err)
	}
	if f.state != nil && SameFile(state, f.state) {
		return false, nil
	}
	return f.loadLocked()
}

// Reload reads the file whether or not it looks changed.
func (f *File) Reload() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loadLocked()
}

// SameFile reports whether a file has not changed between two looks, by all that can be seen from outside.
func SameFile(a, b fs.FileInfo) bool {
	return a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode() && os.SameFile(a, b)
}

func (f *File) loadLocked() (changed bool, err error) {
	text, state, err := ReadFile(tokenFile, f.path, maxFile)
	f.state = state
	if err != nil {
		return false, err
	}
	t, err := Parse(text)
	if err != nil {
		return false, fmt.Errorf("token file %q: %w", f.path, err)
	}
	f.table.Store(t)
	return true, nil
}

// tokenFile is what the file is called in errors.
const tokenFile = "token file"

// ReadFile returns the text of a file that says who may do what, and what the file was, nil when there is none. It refuses what is no file, has more
// than most bytes, or can be written by everybody; what is how such a file is called in errors.
func ReadFile(what, path string, most int64) (text []byte, state fs.FileInfo, err error) {
	text, state, err = wholefile.Regular(path, most)
	if err != nil {
		return nil, state, fmt.Errorf("%s: %w", what, err)
	}
	if state.Mode().Perm()&0o002 != 0 {
		return nil, state, fmt.Errorf("%s %q can be written by everybody: take that right away (chmod o-w)", what, path)
	}
	return text, state, nil
}

// Entry is one line of a token file that is about somebody, for people to read.
type Entry struct {
	Kind    Kind
	Name    string // the token's id, or the pattern of a certificate's name
	Expires time.Time
	Grants  Grants // of the line alone
}

// List returns the lines of a token file, in its order.
func List(path string) ([]Entry, error) {
	text, _, err := ReadFile(tokenFile, path, maxFile)
	if err != nil {
		return nil, err
	}
	if _, err := Parse(text); err != nil {
		return nil, fmt.Errorf("token file %q: %w", path, err)
	}
	var list []Entry
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		e, err := entryOf(fields)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func entryOf(fields []string) (e Entry, err error) {
	switch fields[0] {
	case "token":
		c, err := parseToken(fields[1:])
		if err != nil {
			return e, err
		}
		return Entry{Token, c.Name, c.Expires, c.Grants}, nil
	case "cert":
		e.Kind, e.Name, fields = Certificate, fields[1], fields[2:]
	default:
		e.Kind, fields = Anonymous, fields[1:]
	}
	e.Grants, err = ParseGrants(fields)
	return e, err
}

// Errors of Add and Remove.
var (
	ErrThere    = errors.New("there is a token of that id; remove it first")
	ErrNotThere = errors.New("there is no token of that id")
	ErrNoGrant  = errors.New("a token without a grant may nothing; name one, as publish:orders.*")
)

// Add writes a new token into the file, which is made when there is none, and returns the token: it can be had only now. A zero
// time means that it does not expire. The file is replaced as a whole, so that a reader finds the old one or the new one.
func Add(path, id string, grants Grants, expires time.Time) (token string, err error) {
	if err := CheckID(id); err != nil {
		return "", err
	}
	if len(grants) == 0 {
		return "", ErrNoGrant
	}
	token = newToken(id)
	line := fmt.Sprintf("token %s sha256=%x", id, digestOf(token))
	if !expires.IsZero() {
		line += " expires=" + expires.UTC().Format(time.RFC3339)
	}
	line += " " + grants.String() + "\n"
	err = edit(path, func(text string, t *Table) (string, error) {
		if t.tokens[id] != nil {
			return "", ErrThere
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + line, nil
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// Remove takes a token out of the file. Whatever else is in it stays as it is.
func Remove(path, id string) error {
	return edit(path, func(text string, t *Table) (string, error) {
		if t.tokens[id] == nil {
			return "", ErrNotThere
		}
		var out strings.Builder
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "token" && f[1] == id {
				continue
			}
			out.WriteString(line)
		}
		return out.String(), nil
	})
}

// edit replaces the file with what change makes of it.
func edit(path string, change func(text string, t *Table) (string, error)) error {
	text, state, err := ReadFile(tokenFile, path, maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t, err := Parse(text)
	if err != nil {
		return fmt.Errorf("token file %q: %w", path, err)
	}
	changed, err := change(string(text), t)
	if err != nil {
		return err
	}
	return ReplaceFile(tokenFile, path, changed, state)
}

// ReplaceFile writes a file beside its name and renames it. It gets the rights and the owner of the one before, if there was one, else it is for its
// owner only. What a link leads to is replaced, not the link.
func ReplaceFile(what, path, text string, before fs.FileInfo) (err error) {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // of mode 0600
	if err != nil {
		return fmt.Errorf("write the %s: %w", what, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write the %s: %w", what, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(text)
	if err == nil && before != nil {
		keepOwner(f, before)
		err = f.Chmod(before.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
