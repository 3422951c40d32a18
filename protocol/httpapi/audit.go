package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
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
	Status    int       `json:"status"` // of the answer
}

// actOf describes a request. The caller is known only once it has been admitted.
func actOf(req *http.Request, status int) Act {
	q := req.URL.Query()
	a := Act{Time: time.Now(), Caller: "anybody", Remote: req.RemoteAddr, Forwarded: cut(req.Header.Get("X-Forwarded-For")), Method: req.Method,
		Path: cut(req.URL.Path), Topic: cut(q.Get("topic")), Channel: cut(q.Get("channel")), Node: cut(q.Get("node")), Status: status}
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
	file  *os.File // nil for none
	queue chan []byte
	lost  atomic.Uint64
}

const maxActs = 1000 // that wait for the file

// OpenAudit opens the file, which is appended to; an empty path is none. Run writes to it.
func OpenAudit(path string, log *slog.Logger) (*Audit, error) {
	a := &Audit{log: log, queue: make(chan []byte, maxActs)}
	if path == "" {
		return a, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	a.file = f
	return a, nil
}

// Lost returns how many acts are not in the file.
func (a *Audit) Lost() uint64 { return a.lost.Load() }

// Write notes an act, and does not wait.
func (a *Audit) Write(act Act) {
	a.log.Info("act", "method", act.Method, "path", act.Path, "topic", act.Topic, "channel", act.Channel, "caller", act.Caller,
		"remote", act.Remote, "status", act.Status)
	if a.file == nil {
		return
	}
	line, err := json.Marshal(act)
	if err != nil { // texts and numbers always encode
		line = nil
	}
	select {
	case a.queue <- append(line, '\n'):
	default:
		if a.lost.Add(1) == 1 {
			a.log.Error("the audit log does not take acts as fast as they come; those that it misses are in this log only")
		}
	}
}

// Run writes to the file until ctx ends, then what waits, and closes it.
func (a *Audit) Run(ctx context.Context) {
	if a.file == nil {
		return
	}
	told := uint64(0)
	write := func(line []byte) {
		if lost := a.lost.Load(); lost > told {
			line = append(fmt.Appendf(nil, "{\"lost\":%d}\n", lost-told), line...)
			told = lost
		}
		if _, err := a.file.Write(line); err != nil {
			a.log.Error("writing the audit log", "error", err)
		}
	}
	for {
		select {
		case line := <-a.queue:
			write(line)
		case <-ctx.Done():
			for len(a.queue) > 0 {
				write(<-a.queue)
			}
			if err := errors.Join(a.file.Sync(), a.file.Close()); err != nil {
				a.log.Error("closing the audit log", "error", err)
			}
			return
		}
	}
}
