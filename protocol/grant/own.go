package grant

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Own is a daemon's own token, in a file of its own, which the daemon shows to others. A token that is put into the file later is shown
// without a signal. It is safe for concurrent use; nil has no token.
type Own struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex // guards what follows
	token  string
	state  fs.FileInfo // of the file that was last looked at; nil when it could not be
	looked time.Time
}

// OpenOwn reads the file for the first time: then it must be there and right. An empty path is no file, and nil.
func OpenOwn(path string, log *slog.Logger) (*Own, error) {
	if path == "" {
		return nil, nil
	}
	o := &Own{path: path, log: log, looked: time.Now()}
	var err error
	o.token, o.state, err = readOwn(path)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Token returns what the file holds, as far as it was looked at within a second; empty without a file. What cannot be used is told once, and
// the token from before counts.
func (o *Own) Token() string {
	if o == nil {
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if now.Sub(o.looked) < watchEvery {
		return o.token
	}
	o.looked = now
	state, err := os.Stat(o.path)
	if err == nil && o.state != nil && SameFile(state, o.state) || err != nil && o.state == nil {
		return o.token
	}
	token, state, err := readOwn(o.path)
	o.state = state
	if err != nil {
		o.log.Error("this daemon's own token cannot be read anew, the one from before is shown", "error", err)
		return o.token
	}
	if token != o.token {
		o.log.Info("this daemon's own token was read anew", "file", o.path)
	}
	o.token = token
	return token
}

// readOwn returns the token in a file, and what the file was, nil when that is not known. The error never holds the token.
func readOwn(path string) (token string, state fs.FileInfo, err error) {
	state, err = os.Stat(path)
	if err != nil {
		return "", nil, fmt.Errorf("the file with this daemon's own token: %w", err)
	}
	if state.Mode().Perm()&0o006 != 0 {
		return "", state, fmt.Errorf("the file with this daemon's own token, %s, is open to everybody: take that right away (chmod o-rw)", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", state, fmt.Errorf("the file with this daemon's own token: %w", err)
	}
	token = strings.TrimSpace(string(text))
	if !Looks(token) {
		return "", state, fmt.Errorf("the file with this daemon's own token, %s: %w", path, ErrNoToken)
	}
	return token, state, nil
}
