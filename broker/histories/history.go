package histories

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// History is what clients of one topic did and saw. Its methods are safe for concurrent use.
type History struct {
	began time.Time

	mu        sync.Mutex
	seq       int // orders all that is written down
	acked     int // messages
	open      int // of those, not finished
	publishes []*Publish
	looks     []*Look
	messages  map[string]*message
	unknown   []string // bodies that were delivered and never sent
	faults    []*Fault
	list      []string // the untouched channel
	listed    bool
	wrong     []string
}

// Publish is one publish, of one message or of several that are there whole or not at all.
type Publish struct {
	h         *History
	client    int
	bodies    []string
	call, end int // seq; end 0: no answer
	at        time.Duration
	ok        bool
}

// message is what is known of one.
type message struct {
	p          *Publish
	place      int // in the list; -1: it is not there
	deliveries []delivery
	finished   []time.Duration
}

type delivery struct {
	client, seq int
	at          time.Duration
	attempts    uint16
}

// Fault is something that was done to brokers, and for how long it may have had an effect.
type Fault struct {
	h          *History
	what       string
	begin, end time.Duration // end 0: it goes on
}

// New returns a history that begins now.
func New() *History { return &History{began: time.Now(), messages: map[string]*message{}} }

func (h *History) now() time.Duration { return time.Since(h.began) }

func (h *History) next() int {
	h.seq++
	return h.seq
}

// Publish writes down that a client is about to publish messages, each of which has a body that no other has.
func (h *History) Publish(client int, bodies ...string) *Publish {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &Publish{h: h, client: client, bodies: bodies, call: h.next(), at: h.now()}
	h.publishes = append(h.publishes, p)
	for _, b := range bodies {
		if h.messages[b] != nil {
			h.wrongLocked("the test has sent %q twice", b)
		}
		h.messages[b] = &message{p: p, place: -1}
	}
	return p
}

// Answered writes down what became of it. Whatever is no OK may have been carried out all the same.
func (p *Publish) Answered(ok bool) {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	p.end, p.ok = p.h.next(), ok
	if !ok {
		return
	}
	p.h.acked += len(p.bodies)
	for _, b := range p.bodies {
		if len(p.h.messages[b].finished) == 0 {
			p.h.open++
		}
	}
}

// Look is one look at the whole list, which must show all that was acknowledged before it.
type Look struct {
	h         *History
	client    int
	call, end int    // seq; end 0: nothing was shown
	last      string // body of the last message; empty: there was none
}

// Look writes down that a client is about to look at the list.
func (h *History) Look(client int) *Look {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &Look{h: h, client: client, call: h.next()}
	h.looks = append(h.looks, l)
	return l
}

// Saw writes down which message was shown as the last one, by its body; empty: none is there.
func (l *Look) Saw(last string) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.end, l.last = l.h.next(), last
}

// Delivered writes down what a client was given.
func (h *History) Delivered(client int, body string, attempts uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.messages[body]
	if m == nil {
		h.unknown = append(h.unknown, body)
		return
	}
	m.deliveries = append(m.deliveries, delivery{client, h.next(), h.now(), attempts})
}

// Finished writes down that a client is about to say that it has finished a message.
func (h *History) Finished(body string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.messages[body]
	if m == nil {
		return
	}
	if m.p.ok && len(m.finished) == 0 {
		h.open--
	}
	m.finished = append(m.finished, h.now())
}

// Begin writes down that something is about to be done to brokers. End says by when all is well again.
func (h *History) Begin(format string, args ...any) *Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &Fault{h: h, what: fmt.Sprintf(format, args...), begin: h.now()}
	h.faults = append(h.faults, f)
	return f
}

// Noticed writes down something that has happened within the last while, as an election, and has no effect any more after as long again. While a
// fault goes on it is part of that.
func (h *History) Noticed(within time.Duration, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(h.faults, func(f *Fault) bool { return f.end == 0 }) {
		return
	}
	h.faults = append(h.faults, &Fault{h: h, what: fmt.Sprintf(format, args...), begin: h.now() - within, end: h.now() + within})
}

// End writes down that a fault has no effect any more.
func (f *Fault) End() {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.end = f.h.now()
}

// List writes down what a channel that nobody has taken anything from holds in the end, in order.
func (h *History) List(bodies []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list, h.listed = slices.Clone(bodies), true
	for i, b := range bodies {
		switch m := h.messages[b]; {
		case m == nil:
			h.wrongLocked("%q is in the topic, and was never sent", b)
		case m.place >= 0:
			h.wrongLocked("%q is in the topic twice, as message %d and %d", b, m.place, i)
		default:
			m.place = i
		}
	}
}

// Acknowledged returns how many messages were.
func (h *History) Acknowledged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked
}

// Open returns how many messages were acknowledged and are not finished.
func (h *History) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// Sum is what a history has in it, for a line of a log.
type Sum struct {
	Publishes, Acknowledged, Unknown int // Unknown: messages without an OK
	Came                             int // of those without an OK: they came
	Again                            int // deliveries after the first
	Looks                            int // that showed something
	Faults                           int
}

// Sum counts.
func (h *History) Sum() (s Sum) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Publishes, s.Faults = len(h.publishes), len(h.faults)
	for _, l := range h.looks {
		if l.end > 0 {
			s.Looks++
		}
	}
	for _, p := range h.publishes {
		for _, b := range p.bodies {
			n := len(h.messages[b].deliveries)
			switch {
			case p.ok:
				s.Acknowledged++
			default:
				s.Unknown++
				s.Came += min(n, 1)
			}
			s.Again += max(0, n-1)
		}
	}
	return s
}

func (h *History) wrongLocked(format string, args ...any) {
	if len(h.wrong) < 20 {
		h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
	}
}

// tellLocked says what is known of a message.
func (h *History) tellLocked(body string) string {
	m := h.messages[body]
	if m == nil {
		return fmt.Sprintf("%q was never sent", body)
	}
	var b strings.Builder
	answer := "no OK"
	if m.p.ok {
		answer = "OK"
	}
	fmt.Fprintf(&b, "%q: sent by client %d at %v, %s", body, m.p.client, m.p.at, answer)
	for _, d := range m.deliveries {
		fmt.Fprintf(&b, "; to client %d at %v, attempt %d", d.client, d.at, d.attempts)
	}
	for _, at := range m.finished {
		fmt.Fprintf(&b, "; FIN at %v", at)
	}
	if h.listed {
		fmt.Fprintf(&b, "; message %d of the topic", m.place)
	}
	return b.String()
}

// Faults tells what was done to brokers, a line each.
func (h *History) Faults() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, f := range h.faults {
		fmt.Fprintf(&b, "%v to %v: %s\n", f.begin, f.end, f.what)
	}
	return b.String()
}
