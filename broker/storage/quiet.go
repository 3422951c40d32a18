package storage

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// How often one warning or error is logged: a disk that is full fails every write, many times a second and for hours.
const (
	quietRate  = rate.Limit(0.1) // lines a second for each text
	quietBurst = 5
)

// quiet is a handler that leaves out warnings and errors which have come often. The next line of the same text says how many.
type quiet struct {
	slog.Handler
	said *tellings
}

// tellings is how often each text has come, for a handler and all that are made of it. Texts are constants of the code: there are few.
type tellings struct {
	on    atomic.Bool // else nothing is left out: what a start finds is told whole
	mu    sync.Mutex
	texts map[string]*often
}

type often struct {
	lines   *rate.Limiter
	leftOut int
}

func newQuiet(log *slog.Logger) (*slog.Logger, *tellings) {
	s := &tellings{texts: map[string]*often{}}
	return slog.New(quiet{log.Handler(), s}), s
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn || !q.said.on.Load() {
		return q.Handler.Handle(ctx, r)
	}
	leftOut, ok := q.said.another(r.Message)
	if !ok {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", leftOut))
	}
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attrs), q.said}
}

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name), q.said} }

// another notes one more line and reports whether it is logged, and how many before it were not.
func (s *tellings) another(text string) (leftOut int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.texts[text]
	if o == nil {
		o = &often{lines: rate.NewLimiter(quietRate, quietBurst)}
		s.texts[text] = o
	}
	if !o.lines.Allow() {
		o.leftOut++
		return 0, false
	}
	leftOut, o.leftOut = o.leftOut, 0
	return leftOut, true
}
