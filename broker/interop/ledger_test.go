package interop

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// finWindow is how long before a kill a FIN may have been said that is forgotten: FINs are written in batches.
const finWindow = 100 * time.Millisecond

// ledgerColumns is the head of the table that row adds lines to.
const ledgerColumns = "kill\tafter ms\tup again ms\tacknowledged\tunsure\tfinished\tin hands again\tFIN forgotten\toldest ms\tlatest due ms\t"

// entry is what is known of one message.
type entry struct {
	acked      bool
	sent       time.Time
	deliveries int
	attempts   uint16
	delivered  time.Time // last
	life       int       // of the broker, in which it was
	finished   time.Time // zero: not yet
	due        time.Time // not before this; zero: at once
	requeued   time.Time // when due was asked for by REQ; zero: when it was published
}

// ledger is what producers and consumers of a broker that is killed know of every message.
type ledger struct {
	forget time.Duration // how long before a kill something may have been said that is forgotten
	gentle bool          // the broker is stopped, not killed
	undue  bool          // it forgets when something is due, as nsqd does
	quit   chan struct{}
	pubs   sync.WaitGroup

	mu       sync.Mutex
	entries  map[string]*entry
	unsure   int // publishes that were not answered
	kills    []time.Time
	ups      []time.Time   // the broker answered again
	stalls   time.Duration // longest that the test itself was not run for
	slowest  time.Duration // publish: the broker may have had to wait for the processor, or for the disk, as long
	lives    map[nsq.MessageDelegate]int
	got      int // deliveries in this life
	again    int // unfinished ones that were delivered again
	twice    int // finished ones that were
	oldest   time.Duration
	latest   time.Duration // that a deferred message came after it was due
	problems []string
}

func newLedger() *ledger {
	return &ledger{forget: finWindow, quit: make(chan struct{}), entries: map[string]*entry{}, lives: map[nsq.MessageDelegate]int{}}
}

// begin lets producers of every kind and a consumer work on a broker.
func (l *ledger) begin(t *testing.T, address string) {
	t.Helper()
	for kind := range publishKinds {
		l.publish(t, address, kind)
	}
	l.consume(t, address)
}

// complain notes what must not be. mu is held.
func (l *ledger) complain(format string, a ...any) {
	if len(l.problems) < 20 {
		l.problems = append(l.problems, fmt.Sprintf(format, a...))
	}
}

// HandleMessage keeps the books on a delivery and answers it; go-nsq calls it from several goroutines.
func (l *ledger) HandleMessage(m *nsq.Message) error {
	m.DisableAutoResponse()
	answer, delay := l.arrived(m, time.Now())
	switch answer {
	case "REQ":
		m.RequeueWithoutBackoff(delay)
	case "TOUCH":
		m.Touch()
		<-time.After(20 * time.Millisecond) // the work that it was touched for
		l.finish(m)
	default:
		l.finish(m)
	}
	return nil
}

func (l *ledger) finish(m *nsq.Message) {
	l.mu.Lock()
	l.entries[string(m.Body)].finished = time.Now()
	l.mu.Unlock()
	m.Finish()
}

// arrived books a delivery and says what to answer.
func (l *ledger) arrived(m *nsq.Message, now time.Time) (answer string, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	life, known := l.lives[m.Delegate] // each connection has its own
	if !known {
		life = len(l.kills)
		l.lives[m.Delegate] = life
	}
	e := l.entries[string(m.Body)]
	if e == nil {
		l.complain("%q was never published", m.Body)
		e = &entry{}
		l.entries[string(m.Body)] = e
	}
	if ms, ok := deferral(string(m.Body)); ok && e.deliveries == 0 {
		e.due = time.Unix(0, m.Timestamp).Add(ms)
	}
	l.judgeTime(m, e, life, now)
	if e.deliveries > 0 {
		l.judgeAgain(m, e, life)
	}
	if life == len(l.kills) {
		l.got++
	}
	first := e.deliveries == 0
	*e = entry{acked: e.acked, sent: e.sent, deliveries: e.deliveries + 1, attempts: m.Attempts, delivered: now, life: life}
	switch kind := (m.ID[15] + m.ID[14]*3) % 16; { // ids differ in their last digits
	case first && kind < 3:
		delay = time.Duration(100+int(kind)*150) * time.Millisecond
		e.due, e.requeued = now.Add(delay), now
		return "REQ", delay
	case kind == 4:
		return "TOUCH", 0
	}
	return "FIN", 0
}

// window is forget and what the test and the broker were kept from running, as a FIN that was not sent, or not read, yet is booked already.
func (l *ledger) window() time.Duration { return l.forget + l.stalls + l.slowest }

// judgeTime complains of what comes before it is due. A REQ that was said just before a kill may be forgotten.
func (l *ledger) judgeTime(m *nsq.Message, e *entry, life int, now time.Time) {
	if e.due.IsZero() || l.undue {
		return
	}
	forgettable := !e.requeued.IsZero() && e.life < life && l.kills[e.life].Sub(e.requeued) < l.window()
	if now.Before(e.due) && !forgettable {
		l.complain("%q came %v before it was due, in attempt %d", m.Body, e.due.Sub(now), m.Attempts)
	}
	since := e.due
	if n := len(l.ups); n > 0 && l.ups[n-1].After(since) {
		since = l.ups[n-1]
	}
	l.latest = max(l.latest, now.Sub(since))
}

// judgeAgain complains of a message that is delivered once more and should not be, or with too few attempts.
func (l *ledger) judgeAgain(m *nsq.Message, e *entry, life int) {
	if e.life == life {
		if !e.finished.IsZero() {
			l.complain("%q came again although it was finished, and no kill in between", m.Body)
		}
		if m.Attempts != e.attempts+1 {
			l.complain("%q came in attempt %d and then %d", m.Body, e.attempts, m.Attempts)
		}
		return
	}
	kill := l.kills[e.life]
	if m.Attempts <= e.attempts && kill.Sub(e.delivered) > l.window() {
		l.complain("%q came in attempt %d and, %v later, a kill in between, in %d", m.Body, e.attempts, time.Since(e.delivered), m.Attempts)
	}
	age := kill.Sub(e.finished)
	if e.finished.IsZero() || age < 0 {
		l.again++
		return
	}
	l.twice++
	l.oldest = max(l.oldest, age)
	if age > l.window() {
		l.complain("%q came again although it was finished %v before a kill", m.Body, age)
	}
}

// outlives has the broker end so many times, as end does it, each time at a random moment of a life from shortest to longest, and start again. In the end
// nothing may be lost. How it went is in the test's log.
func (l *ledger) outlives(t *testing.T, b *cmdtest.Process, times int, shortest, longest time.Duration, end func()) {
	t.Helper()
	l.begin(t, b.TCP)
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(rows, ledgerColumns)
	for round := 1; round <= times; round++ {
		cmdtest.Eventually(t, "messages come again", 20*time.Second, l.flows())
		life := shortest + rand.N(longest-shortest)
		<-time.After(life) // a random moment is what is tested
		l.killed(end)
		down := time.Now()
		b.Start(t)
		l.up(time.Now())
		l.row(rows, round, life, time.Since(down))
	}
	cmdtest.Eventually(t, "messages come again", 20*time.Second, l.flows())
	l.settle(t)
	l.row(rows, times+1, 0, 0)
	rows.Flush()
	t.Logf("%s; the last line is the end, without a kill or stop\n%s", b.Label, &table)
	l.expectNothingLost(t, b)
}

// flows returns a question: whether messages that were published after now have come.
func (l *ledger) flows() func() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = 0
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.got > 100
	}
}

// killed books a kill. What is acknowledged while the broker dies counts.
func (l *ledger) killed(kill func()) {
	l.mu.Lock()
	l.kills = append(l.kills, time.Now())
	l.mu.Unlock()
	kill()
}

// up books that the broker answers again.
func (l *ledger) up(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ups = append(l.ups, at)
}

// row adds a line to the table.
func (l *ledger) row(w io.Writer, round int, life, restart time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked, finished := 0, 0
	for _, e := range l.entries {
		if e.acked {
			acked++
		}
		if !e.finished.IsZero() {
			finished++
		}
	}
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", round, life.Milliseconds(), restart.Milliseconds(), acked, l.unsure,
		finished, l.again, l.twice, l.oldest.Milliseconds(), l.latest.Milliseconds())
}

// open returns the acknowledged messages that are not finished, with what is known of them.
func (l *ledger) open() (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for body, e := range l.entries {
		if e.acked && e.finished.IsZero() {
			found = append(found, fmt.Sprintf("%.30q: %s", body, l.historyLocked(e)))
		}
	}
	return found
}

// historyLocked says what is known of a message.
func (l *ledger) historyLocked(e *entry) string {
	text := fmt.Sprintf("published %s, %d deliveries", l.momentLocked(e.sent), e.deliveries)
	if e.deliveries > 0 {
		text += fmt.Sprintf(", the last %s, attempt %d", l.momentLocked(e.delivered), e.attempts)
	}
	if !e.due.IsZero() {
		text += ", due " + l.momentLocked(e.due)
	}
	return text
}

// momentLocked tells a time by the kill that followed it.
func (l *ledger) momentLocked(at time.Time) string {
	for i, kill := range l.kills {
		if at.Before(kill) {
			return fmt.Sprintf("%v before kill %d", kill.Sub(at), i+1)
		}
	}
	return "after the last kill"
}

// settle ends the producers and waits until all is finished, or nothing comes any more.
func (l *ledger) settle(t *testing.T) {
	t.Helper()
	close(l.quit)
	l.pubs.Wait()
	last, since := -1, time.Now()
	cmdtest.Eventually(t, "all is finished, or nothing comes", time.Minute, func() bool {
		n := len(l.open())
		if n != last {
			last, since = n, time.Now()
		}
		return n == 0 || time.Since(since) > time.Minute
	})
}

// expectNothingLost holds the broker to what the ledger knows.
func (l *ledger) expectNothingLost(t *testing.T, b *cmdtest.Process) {
	t.Helper()
	if lost := l.open(); len(lost) > 0 {
		slices.Sort(lost)
		ch := b.Channel(t, topic, channel)
		t.Errorf("%d acknowledged messages were lost; the broker has %d waiting, %d in flight, %d deferred\n%s", len(lost),
			ch.Depth, ch.InFlightCount, ch.DeferredCount, strings.Join(lost[:min(len(lost), 10)], "\n"))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.problems {
		t.Error(p)
	}
	if len(l.kills) > 2 && l.again+l.twice == 0 && !l.gentle {
		t.Error("no message was delivered again: the kills met nothing")
	}
}
