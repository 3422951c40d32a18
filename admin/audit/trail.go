package audit

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// Act is one act that was tried.
type Act struct {
	Time      time.Time `json:"time"`
	User      string    `json:"user"`                // empty when nobody signed in
	Remote    string    `json:"remote"`              // ip:port of the peer
	Forwarded string    `json:"forwarded,omitempty"` // what the peer says of whom it asks for; not to be trusted by itself
	UserAgent string    `json:"user_agent"`
	Action    string    `json:"action"`
	Topic     string    `json:"topic,omitempty"`
	Channel   string    `json:"channel,omitempty"`
	Node      string    `json:"node,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	Result    string    `json:"result"` // done, partial, failed or refused
	Error     string    `json:"error,omitempty"`
}

// Trail is where acts are written down. It is safe for concurrent use.
type Trail struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	file   *os.File   // nil for none
	closed bool
}

// New returns a Trail that writes to f, or to the log alone when f is nil.
func New(f *os.File, log *slog.Logger) *Trail { return &Trail{log: log, file: f} }

// Use has acts written to f from now on, or to the log alone when f is nil, and closes the file before, which may take as long as its
// disk. Once the Trail is closed it closes f.
func (t *Trail) Use(f *os.File) error {
	t.mu.Lock()
	if !t.closed {
		t.file, f = f, t.file
	}
	t.mu.Unlock()
	return end(f)
}

// Write writes an act down. An error of the file is logged: the act was done by then.
func (t *Trail) Write(a Act) {
	t.log.Info("act", "action", a.Action, "topic", a.Topic, "channel", a.Channel, "node", a.Node, "detail", a.Detail,
		"user", a.User, "remote", a.Remote, "forwarded", a.Forwarded, "user_agent", a.UserAgent, "result", a.Result, "error", a.Error)
	line, err := json.Marshal(a)
	if err == nil {
		err = t.append(append(line, '\n'))
	}
	if err != nil {
		t.log.Error("the audit log could not be written", "error", err)
	}
}

func (t *Trail) append(line []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	_, err := t.file.Write(line)
	return err
}

// Close closes the file. What is written down after it goes to the log only.
func (t *Trail) Close() error {
	t.mu.Lock()
	f := t.file
	t.file, t.closed = nil, true
	t.mu.Unlock()
	return end(f)
}

// end closes a file that nothing is written to any more; nil is none.
func end(f *os.File) error {
	if f == nil {
		return nil
	}
	return errors.Join(f.Sync(), f.Close())
}

// From notes where a request came from.
func (a *Act) From(r *http.Request) {
	a.Remote, a.Forwarded, a.UserAgent = r.RemoteAddr, cut(r.Header.Get("X-Forwarded-For")), cut(r.UserAgent())
}

// cut is so much of a text as is kept of what strangers say of themselves.
func cut(text string) string { return text[:min(len(text), 300)] }
