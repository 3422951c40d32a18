package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Act is a request that changes what a daemon has or does, beyond its messages, or was to and was refused.
type Act struct {
	Time      time.Time `json:"time"`
	Caller    string    `json:"caller"` // "token NAME" and the like; "anybody" where nobody is asked who he is
	Remote    string    `json:"remote"` // ip:port
	Forwarded string    `json:"forwarded,omitempty"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Topic     string    `json:"topic,omitempty"`
	Channel   string    `json:"channel,omitempty"`
	Node      string    `json:"node,omitempty"`
	Message   string    `json:"message,omitempty"` // its id, or its position in the topic
	Status    int       `json:"status"`            // of the answer
}

// actOf describes a request. The caller is known only once it has been admitted.
func actOf(req *http.Request, status int) Act {
	q := req.URL.Query()
	a := Act{Time: time.Now(), Caller: "anybody", Remote: req.RemoteAddr, Forwarded: cut(req.Header.Get("X-Forwarded-For")), Method: req.Method,
		Path: cut(req.URL.Path), Topic: cut(q.Get("topic")), Channel: cut(q.Get("channel")), Node: cut(q.Get("node")),
		Message: cut(cmp.Or(q.Get("id"), q.Get("pos"))), Status: status}
	if old := q.Get("old"); a.Node == "" && old != "" { // one node in the place of another
		a.Node = cut(old + " by " + q.Get("new"))
	}
	if c := CallerOf(req); c != nil {
		a.Caller = c.String()
	}
	return a
}

// cut keeps what strangers sent short.
func cut(text string) string { return text[:min(len(text), 200)] }

// Audit writes acts down: in the daemon's log, and in a file of its own when there is one, a JSON object a line. It never holds up an act: when
// the file's disk does not take as much, a thousand acts wait, others are in the log only and are counted.
type Audit struct {
	log   *slog.Logger
	queue chan line
	lost  atomic.Uint64
	on    atomic.Bool   // there is a file
	used  atomic.Uint64 // how many files were given, nil among them
	next  chan struct{} // has room for one: pending has changed

	mu      sync.Mutex
	pending []*os.File // that are to follow the one in use, nil for none; guarded by mu
	ended   bool       // Run has returned; guarded by mu
}

// line is an act that is to be written.
type line struct {
	text []byte
	used uint64 // how many files had been given then
}

const maxActs = 1000 // that wait for the file

// NewAudit returns one without a file. Run writes to those that Use gives it.
func NewAudit(log *slog.Logger) *Audit {
	return &Audit{log: log, queue: make(chan line, maxActs), next: make(chan struct{}, 1)}
}

// noWait has a pipe refused that nobody reads, where opening it would wait for a reader.
const noWait = syscall.O_NONBLOCK

// CheckAudit reports why acts could not be written to a file, as far as that shows without making it.
func CheckAudit(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|noWait, 0)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(path))
	} else if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("--audit-log: %w", err)
	}
	return nil
}

// OpenAudit opens a file for Use, which is made when it is missing and appended to; nil for an empty path.
func OpenAudit(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|noWait, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--audit-log: %w", err)
	}
	return f, nil
}

// Use has acts written to f from now on, or to the log alone when f is nil. What was written before goes to the file before, which is
// closed then.
func (a *Audit) Use(f *os.File) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		if f != nil {
			_ = f.Close() // nothing was written to it
		}
		return
	}
	a.pending = append(a.pending, f)
	a.used.Add(1)
	a.on.Store(f != nil)
	select {
	case a.next <- struct{}{}:
	default: // it is still to be looked at
	}
}

// Lost returns how many acts are not in the file.
func (a *Audit) Lost() uint64 { return a.lost.Load() }

// Write notes an act, and does not wait.
func (a *Audit) Write(act Act) {
	attrs := []any{"method", act.Method, "path", act.Path, "topic", act.Topic, "channel", act.Channel, "caller", act.Caller,
		"remote", act.Remote, "status", act.Status}
	if act.Message != "" {
		attrs = append(attrs, "message", act.Message)
	}
	a.log.Info("act", attrs...)
	if !a.on.Load() {
		return
	}
	used := a.used.Load()
	text, err := json.Marshal(act)
	if err != nil { // texts and numbers always encode
		text = nil
	}
	select {
	case a.queue <- line{append(text, '\n'), used}:
	default:
		if a.lost.Add(1) == 1 {
			a.log.Error("the audit log does not take acts as fast as they come; those that it misses are in this log only")
		}
	}
}

// Run writes to the files until ctx ends, then what waits, and closes the last. It is called once.
func (a *Audit) Run(ctx context.Context) {
	w := auditWriter{a: a}
	for {
		select {
		case <-a.next:
			w.catchUp()
		case l := <-a.queue:
			w.write(l)
		case <-ctx.Done():
			a.mu.Lock()
			a.ended = true
			a.mu.Unlock()
			w.catchUp()
			w.end()
			return
		}
	}
}

// auditWriter is the end of an Audit that writes.
type auditWriter struct {
	a    *Audit
	file *os.File // nil for none
	used uint64   // it is so many of those that were given
	told uint64   // of the acts that were lost
}

// catchUp writes what waits, each act to the file that was in force for it, and goes on with the newest.
func (w *auditWriter) catchUp() {
	used := w.a.used.Load() // before the queue is looked at: what comes meanwhile may be for a file that is not the newest then
	for range len(w.a.queue) {
		w.write(<-w.a.queue)
	}
	w.follow(used)
}

// follow goes on with later files until that is so many of those that were given.
func (w *auditWriter) follow(used uint64) {
	w.a.mu.Lock()
	n := min(max(used, w.used)-w.used, uint64(len(w.a.pending)))
	files := w.a.pending[:n:n]
	w.a.pending = w.a.pending[n:]
	w.a.mu.Unlock()
	for _, f := range files {
		w.end()
		w.file = f
		w.used++
	}
}

// end closes the file.
func (w *auditWriter) end() {
	if w.file == nil {
		return
	}
	if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
		w.a.log.Error("closing the audit log", "error", err)
	}
	w.file = nil
}

func (w *auditWriter) write(l line) {
	w.follow(l.used)
	if w.file == nil {
		return // it was turned off meanwhile; the act is in the log
	}
	text := l.text
	if lost := w.a.lost.Load(); lost > w.told {
		text = append(fmt.Appendf(nil, "{\"lost\":%d}\n", lost-w.told), text...)
		w.told = lost
	}
	if _, err := w.file.Write(text); err != nil {
		w.a.log.Error("writing the audit log", "error", err)
	}
}
