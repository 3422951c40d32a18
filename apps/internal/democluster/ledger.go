package democluster

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
	"time"
)

// overdue is for how long messages may come without one that was acknowledged before, until that one is called lost. It may come
// later: then it is not. A consumer that dies with a message in hand holds it back for msgTimeout, one that is requeued goes behind others.
const overdue = 3 * msgTimeout

// What is known of a message; none of them: it was sent.
const (
	acked    byte = 1 << iota
	refused       // or not answered in time
	finished      // once at least
	late          // it was open for longer than overdue
)

// sender is what is known of one producer's messages, by their numbers.
type sender struct {
	state []byte
	low   int    // nothing before it is open or waits for an answer
	marks []mark // when messages were sent, oldest first
}

// mark says by when the messages before a number were sent, in time of flow.
type mark struct {
	before int
	at     time.Duration
}

// ledger is what producers have sent, what was acknowledged, and what consumers have finished.
type ledger struct {
	mu      sync.Mutex
	senders []sender
	counts  counts
	strange []string      // bodies that nobody has sent, a few
	flow    time.Duration // for how long messages have been coming
	seen    int           // deliveries when look was called last
	looked  time.Time
	watched *watch
}

// counts are numbers of messages.
type counts struct {
	sent, acked, refused int
	finished             int // of all that was sent, each once
	open                 int // acknowledged and not finished
	lost                 int // of those, for longer than overdue
	again                int // deliveries of what was finished before
	strange              int // deliveries of what nobody has sent
}

// watch notes when things go on after a moment: what was sent before it does not count.
type watch struct {
	began    time.Time
	from     []int     // the next number of each sender at that moment
	acked    time.Time // zero: nothing yet
	finished time.Time
}

func newLedger(producers int) *ledger { return &ledger{senders: make([]sender, producers)} }

// body returns what a message says: its producer, its number, and text that follows from both, in about 200 bytes.
func body(producer, number int) []byte {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d", producer, number)
	sum := fmt.Sprintf("%016x ", h.Sum64())
	b := fmt.Appendf(nil, "%d %d ", producer, number)
	return append(b, bytes.Repeat([]byte(sum), 10)...)
}

// numbers reads a body, and reports whether it is one.
func numbers(b []byte) (producer, number int, ok bool) {
	first, rest, _ := bytes.Cut(b, []byte(" "))
	second, _, _ := bytes.Cut(rest, []byte(" "))
	producer, err := strconv.Atoi(string(first))
	number, bad := strconv.Atoi(string(second))
	return producer, number, err == nil && bad == nil && number >= 0 && bytes.Equal(b, body(producer, number))
}

// send returns the bodies of a producer's next messages, and the number of the first.
func (l *ledger) send(producer, n int) (first int, bodies [][]byte) {
	l.mu.Lock()
	s := &l.senders[producer]
	first = len(s.state)
	s.state = append(s.state, make([]byte, n)...)
	if k := len(s.marks); k == 0 || s.marks[k-1].at != l.flow {
		s.marks = append(s.marks, mark{at: l.flow})
	}
	s.marks[len(s.marks)-1].before = len(s.state)
	l.counts.sent += n
	l.mu.Unlock()
	for i := range n {
		bodies = append(bodies, body(producer, first+i))
	}
	return first, bodies
}

// answered notes what became of a publish.
func (l *ledger) answered(producer, first, n int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.senders[producer]
	for i := first; i < first+n; i++ {
		if !ok {
			s.state[i] |= refused
			l.counts.refused++
			continue
		}
		s.state[i] |= acked
		l.counts.acked++
		if s.state[i]&finished == 0 {
			l.counts.open++
		}
	}
	if w := l.watched; ok && w != nil && w.acked.IsZero() && first >= w.from[producer] {
		w.acked = time.Now()
	}
}

// finish counts a message that a consumer has in hand.
func (l *ledger) finish(b []byte) {
	producer, number, ok := numbers(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || producer < 0 || producer >= len(l.senders) || number >= len(l.senders[producer].state) {
		if l.counts.strange++; len(l.strange) < 5 {
			l.strange = append(l.strange, fmt.Sprintf("%.60q", b))
		}
		return
	}
	state := &l.senders[producer].state[number]
	if *state&finished != 0 {
		l.counts.again++
		return
	}
	l.counts.finished++
	if *state&acked != 0 {
		l.counts.open--
	}
	if *state&late != 0 {
		l.counts.lost--
	}
	*state |= finished
	if w := l.watched; w != nil && w.finished.IsZero() && number >= w.from[producer] {
		w.finished = time.Now()
	}
}

// look is called now and then: it tells what is overdue, by the time in which messages came.
func (l *ledger) look(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if deliveries := l.counts.finished + l.counts.again; deliveries > l.seen {
		if !l.looked.IsZero() {
			l.flow += min(now.Sub(l.looked), time.Second) // who looks may have been held up
		}
		l.seen = deliveries
	}
	l.looked = now
	for i := range l.senders {
		l.counts.lost += l.senders[i].overdue(l.flow)
	}
}

// overdue marks what is open for too long, and returns how many of them are new.
func (s *sender) overdue(flow time.Duration) (lost int) {
	for len(s.marks) > 0 && flow-s.marks[0].at > overdue {
		for i := s.low; i < s.marks[0].before; i++ {
			if s.state[i]&(acked|finished|late) == acked {
				s.state[i] |= late
				lost++
			}
		}
		s.marks = s.marks[1:]
	}
	for s.low < len(s.state) && s.state[s.low]&(finished|refused|late) != 0 {
		s.low++
	}
	return lost
}

// now returns the counts.
func (l *ledger) now() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// begin watches from now on when things go on after something that was done at a time.
func (l *ledger) begin(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = &watch{began: at}
	for i := range l.senders {
		l.watched.from = append(l.watched.from, len(l.senders[i].state))
	}
}

// back returns after which time publishes were acknowledged again, and messages that were sent since then finished; 0: not yet.
func (l *ledger) back() (publishing, delivering time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.watched
	if w == nil {
		return 0, 0
	}
	if !w.acked.IsZero() {
		publishing = w.acked.Sub(w.began)
	}
	if !w.finished.IsZero() {
		delivering = w.finished.Sub(w.began)
	}
	return publishing, delivering
}

// openBodies names some messages that were acknowledged and are not finished.
func (l *ledger) openBodies() (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.senders {
		for n, state := range l.senders[p].state {
			if state&(acked|finished) == acked && len(found) < 5 {
				found = append(found, fmt.Sprintf("message %d of producer %d", n, p))
			}
		}
	}
	return found
}

// verdict returns what must not be, once all is over.
func (l *ledger) verdict() error {
	c, open := l.now(), l.openBodies()
	switch {
	case c.open > 0:
		return fmt.Errorf("%d messages that were acknowledged were not finished, among them %s", c.open, open)
	case c.strange > 0:
		return fmt.Errorf("%d messages were delivered that nobody has sent, among them %s", c.strange, l.strange)
	case c.acked == 0:
		return fmt.Errorf("nothing was acknowledged")
	}
	return nil
}
