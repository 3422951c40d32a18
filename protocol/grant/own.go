package grant

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/protocol/wholefile"
)

// Own is a daemon's own token, in a file of its own, which the daemon shows to others. A token that is put into the file later is shown
// without a signal. It is safe for concurrent use; nil has no token.
type Own struct {
	path  string
	log   *slog.Logger
	token atomic.Pointer[string]

	look   sync.Mutex  // whoever has it looks at the file; nobody waits for it. It guards what follows
	state  fs.FileInfo // of the file that was last looked at; nil when it could not be
	looked time.Time
}

// OpenOwn reads the file for the first time: then it must be there and right. An empty path is no file, and nil.
func OpenOwn(path string, log *slog.Logger) (*Own, error) {
	if path == "" {
		return nil, nil
	}
	o := &Own{path: path, log: log, looked: time.Now()}
	token, state, err := readOwn(path)
	if err != nil {
		return nil, err
	}
	o.state = state
	o.token.Store(&token)
	return o, nil
}

// Token returns what the file holds, as far as it was looked at within a second; empty without a file. What cannot be used is told once, and
// the token from before counts, as it does while the file is read.
func (o *Own) Token() string {
	if o == nil {
		return ""
	}
	if o.look.TryLock() {
		defer o.look.Unlock()
		if now := time.Now(); now.Sub(o.looked) >= watchEvery {
			o.looked = now
			o.lookLocked()
		}
	}
	return *o.token.Load()
}

// lookLocked reads the file if it changed.
func (o *Own) lookLocked() {
	state, err := os.Stat(o.path)
	if err == nil && o.state != nil && SameFile(state, o.state) || err != nil && o.state == nil {
		return
	}
	token, state, err := readOwn(o.path)
	o.state = state
	if err != nil {
		o.log.Error("this daemon's own token cannot be read anew, the one from before is shown", "error", err)
		return
	}
	if token != *o.token.Load() {
		o.log.Info("this daemon's own token was read anew", "file", o.path)
	}
	o.token.Store(&token)
}

// maxOwn is how long the file is at most, in bytes.
const maxOwn = 64 << 10

// readOwn returns the token in a file, and what the file was, nil when that is not known. The error never holds the token.
func readOwn(path string) (token string, state fs.FileInfo, err error) {
	text, state, err := wholefile.Regular(path, maxOwn)
	if err != nil {
		return "", state, fmt.Errorf("the file with this daemon's own token: %w", err)
	}
	if state.Mode().Perm()&0o006 != 0 {
		return "", state, fmt.Errorf("the file with this daemon's own token, %q, is open to everybody: take that right away (chmod o-rw)", path)
	}
	token = strings.TrimSpace(string(text))
	if !Looks(token) {
		return "", state, fmt.Errorf("the file with this daemon's own token, %q: %w", path, ErrNoToken)
	}
	return token, state, nil
}
