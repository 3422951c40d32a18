package appkit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Progress counts what a tool does and shows it: as a line on a terminal, and elsewhere not at all, or as a log line each
// --status-interval.
type Progress struct {
	Done   atomic.Int64 // things
	Failed atomic.Int64 // attempts
	Bytes  atomic.Int64

	env    *Env
	things string
	began  time.Time
	left   func() (int64, bool)
	stop   chan struct{}
	ended  chan struct{}
}

// Progress starts to show how many of the things, a plural, are done. left says how many there still are, if it knows; it may be
// nil, and is called from another goroutine. Stop ends it.
func (e *Env) Progress(things string, left func() (int64, bool)) *Progress {
	p := &Progress{env: e, things: things, began: time.Now(), left: left, stop: make(chan struct{}), ended: make(chan struct{})}
	interval := e.statusInterval
	if e.console != nil && e.console.terminal {
		interval = 500 * time.Millisecond
	}
	go p.run(interval)
	return p
}

// Stop shows the last figures and ends. It is called once.
func (p *Progress) Stop() {
	close(p.stop)
	<-p.ended
	if p.env.json {
		summary := map[string]any{p.things: p.Done.Load(), "failed": p.Failed.Load(), "bytes": p.Bytes.Load(),
			"seconds": time.Since(p.began).Round(time.Millisecond).Seconds()}
		if err := json.NewEncoder(p.env.Stdout).Encode(summary); err != nil {
			p.env.Log.Error("writing the summary", "error", err)
		}
	}
}

func (p *Progress) run(interval time.Duration) {
	defer close(p.ended)
	if interval <= 0 {
		<-p.stop
		return
	}
	last, before := p.began, int64(0)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			done := p.Done.Load()
			p.show(done, perSecond(done-before, now.Sub(last)))
			before, last = done, now
		case <-p.stop:
			done := p.Done.Load()
			p.leave(done, perSecond(done, time.Since(p.began)))
			return
		}
	}
}

func perSecond(n int64, d time.Duration) int64 { return int64(float64(n) / max(d.Seconds(), 1e-3)) }

func (p *Progress) show(done, rate int64) {
	left, known := int64(0), false
	if p.left != nil {
		left, known = p.left()
	}
	if p.env.console != nil && p.env.console.terminal {
		p.env.console.show(p.line(done, rate, left, known))
		return
	}
	attrs := []any{p.things, done, "rate", rate, "failed", p.Failed.Load(), "bytes", p.Bytes.Load()}
	if known {
		attrs = append(attrs, "left", left)
	}
	p.env.Log.Info("progress", attrs...)
}

func (p *Progress) leave(done, rate int64) {
	if p.env.console != nil && p.env.console.terminal {
		p.env.console.leave(p.line(done, rate, 0, false) + " on average")
		return
	}
	p.show(done, rate)
}

func (p *Progress) line(done, rate, left int64, known bool) string {
	text := fmt.Sprintf("%s %s, %s/s", Grouped(done), p.things, Grouped(rate))
	if failed := p.Failed.Load(); failed > 0 {
		text += fmt.Sprintf(", %s failed", Grouped(failed))
	}
	if known {
		text += fmt.Sprintf(", %s left", Grouped(left))
	}
	return text
}

// Counted returns a number with what is counted, as in 1 message and 2,000 messages.
func Counted(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return Grouped(n) + " " + thing
}

// Grouped writes a number with commas between the thousands.
func Grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return sign + b.String()
}
