package session

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"brokerd/protocol"
)

// Limits of what refused commands leave in the log.
const (
	refusalRate  = 2 // lines a second for a client
	refusalBurst = 5
	maxRefused   = 1024 // clients that are told apart
	maxReason    = 300  // bytes: clients choose part of them
)

// refusals counts the commands that are answered with an error, and logs each with its reason: a few a second for a client, which is
// who has an address, since one that is refused often comes back on a new connection.
type refusals struct {
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	codes   map[protocol.Code]uint64
	clients map[string]*clientLines // by address
}

// clientLines is one client's share of the log.
type clientLines struct {
	lines   *rate.Limiter
	dropped int // refusals that were not logged since the last line
}

func newRefusals(log *slog.Logger) *refusals {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &refusals{log: log, codes: map[protocol.Code]uint64{}, clients: map[string]*clientLines{}}
}

// counts returns how many commands were refused, by code.
func (r *refusals) counts() map[protocol.Code]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.codes)
}

// count notes n refusals and reports whether they may be logged, and how many others of this client were not.
func (r *refusals) count(client string, code protocol.Code, n int, now time.Time) (say bool, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[code] += uint64(n)
	c := r.clients[client]
	if c == nil {
		if len(r.clients) >= maxRefused {
			maps.DeleteFunc(r.clients, func(_ string, c *clientLines) bool { return c.lines.TokensAt(now) >= refusalBurst })
		}
		if len(r.clients) >= maxRefused {
			client = "" // all others are one
			c = r.clients[client]
		}
	}
	if c == nil {
		c = &clientLines{lines: rate.NewLimiter(refusalRate, refusalBurst)}
		r.clients[client] = c
	}
	if !c.lines.AllowN(now, 1) {
		c.dropped += n
		return false, 0
	}
	dropped, c.dropped = c.dropped, 0
	return true, dropped
}

// refuse counts and logs n commands that are answered with the same error.
func (s *Session) refuse(why *protocol.Error, n int) {
	if s.cfg.refusals == nil {
		return
	}
	client := remoteIP(s.conn)
	say, dropped := s.cfg.refusals.count(client, why.Code, n, time.Now())
	if !say {
		return
	}
	s.cfg.refusals.log.Log(context.Background(), slog.LevelInfo, "command refused", s.refusalFields(why, n, dropped)...)
}

// refusalFields returns the fields of a line about n refusals; dropped is how many others of the client got none.
func (s *Session) refusalFields(why *protocol.Error, n, dropped int) []any {
	line := []any{"client", s.settings.clientID, "remote", s.conn.RemoteAddr(), "code", string(why.Code), "reason", why.Desc[:min(len(why.Desc), maxReason)]}
	if name, channel, ok := s.consumes(); ok {
		line = append(line, "topic", name, "channel", channel)
	} else if s.to != nil && slices.Contains([]protocol.Code{protocol.CodePubFailed, protocol.CodeMpubFailed, protocol.CodeDpubFailed}, why.Code) {
		line = append(line, "topic", s.to.name)
	}
	if why.Cause != nil {
		line = append(line, "error", why.Cause)
	}
	if n > 1 {
		line = append(line, "commands", n)
	}
	if dropped > 0 {
		line = append(line, "not_logged", dropped)
	}
	return line
}

// IsRefusal reports whether a session ended as the client was refused something: that is in the log already.
func IsRefusal(err error) bool {
	var why *protocol.Error
	return errors.As(err, &why)
}
