package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
)

// Publishes that are answered before they are committed, as acks 0 and 1 ask for. This node goes on with them as with others: until it knows that
// one is committed it sends it again to whoever leads next, under its number and before anything that came later. What of them cannot be done
// any more nobody can be told: it is counted and logged.

const (
	// mostEarly is how many bytes of publishes may be answered and not known to be committed. Those beyond it are not answered early.
	mostEarly = 8 << 20
	// keptFor is how long such a publish is tried: shorter than leaders remember which ones of a node they have taken.
	keptFor = 5 * time.Minute
)

// early counts what was answered early.
type early struct {
	bytes, messages atomic.Int64 // that are not known to be committed

	publishes        atomic.Uint64
	refused, givenUp atomic.Uint64 // messages
}

// hold sets room aside for a publish of so many bytes. It reports false when there is none.
func (e *early) hold(p *publish, size int) bool {
	if n := e.bytes.Add(int64(size)); n > mostEarly && n > int64(size) {
		e.bytes.Add(-int64(size))
		return false
	}
	p.held = size
	return true
}

// release gives the room back.
func (e *early) release(p *publish) {
	e.bytes.Add(-int64(p.held))
	p.held = 0
}

// acksOf returns when a publish is to be answered, as it says, and as this node knows it: unsaid when only who leads knows that. One that asks for a
// receipt waits until that is certain. It fails with topic.ErrAcks.
func acksOf(b *topic.Batch, t *Topic) (asked, acks topic.Acks, err error) {
	asked = b.Acks
	if t.Known {
		ok := false
		if acks, ok = t.Policy.Asked(asked); !ok {
			return asked, acks, topic.ErrAcks
		}
	}
	if b.Receipts {
		asked, acks = policy.AcksAll, policy.AcksAll
	}
	return asked, acks, nil
}

// begun is a publish that was begun on this node.
type begun struct {
	topic.Begun
	led *topic.Led
}

// keep takes a publish that is answered at once, and for which room is held.
func (g *group) keep(p *publish) error {
	if !g.start() {
		g.f.early.release(p)
		return topic.ErrExiting
	}
	p.frames, p.count = p.b.Frames()
	p.b.SetReceipt(topic.Receipt{})
	p.b = nil
	g.mu.Lock()
	g.renumberLocked(p)
	g.markLocked(p)
	g.enqueueLocked(p)
	g.advanceLocked(time.Now())
	g.mu.Unlock()
	if !g.start() { // Close came between, and did not find it
		g.abandon()
	}
	return nil
}

// renumberLocked gives a publish that is about to be queued the newest number, so that none that is higher comes before it; but one that may have been taken
// stays what it is, and others may have been taken before it.
func (g *group) renumberLocked(p *publish) {
	if p.inOrder = !p.unknown; !p.inOrder || p.number == g.last {
		return
	}
	for i := len(g.open) - 1; i >= 0; i-- {
		if g.open[i] == p {
			g.open = append(slices.Delete(g.open, i, i+1), p)
			break
		}
	}
	g.last++
	p.number = g.last
}

// markLocked notes that a publish is answered.
func (g *group) markLocked(p *publish) {
	p.early, p.until = true, time.Now().Add(keptFor)
	g.f.early.messages.Add(int64(p.count))
	g.f.early.publishes.Add(1)
}

// answerEarlyLocked notes that a publish is answered, and that so many bytes of it are held from now on. It reports false when it may not be.
func (g *group) answerEarlyLocked(p *publish, size int) bool {
	if p.over || p.early || !g.f.early.hold(p, size) {
		return false
	}
	g.markLocked(p)
	return true
}

// endLocked notes what has become of a publish that was answered early: nil, it is committed.
func (g *group) endLocked(p *publish, err error) {
	g.dropLocked(p)
	if !p.queued { // else it was sent, and counts for the window until it is answered
		p.frames = nil
	}
	e := &g.f.early
	e.messages.Add(-int64(p.count))
	e.release(p)
	switch {
	case err == nil:
		return
	case errors.Is(err, errKeptTooLong), errors.Is(err, errStopped):
		e.givenUp.Add(uint64(p.count))
	default:
		e.refused.Add(uint64(p.count))
	}
	g.losses.add(p, err)
}

// begin publishes a batch on this node, which leads, and returns once this node has it as safe as the topic's level says.
func (g *group) begin(p *publish, t *topic.Topic, delay time.Duration) error {
	p.b.Later = nil // another goroutine shows it
	p.inOrder = false
	size := p.b.Size()
	b, err := t.Begin(p.b, delay)
	switch {
	case err != nil:
		return err
	case b.Again(): // and p.b still has the messages
		if err = b.Await(); err == nil {
			p.b.Reset()
		}
		return err
	}
	if p.done == nil {
		p.done = make(chan outcome, 1)
	}
	g.mu.Lock()
	p.count = b.Receipt().Count
	g.startedLocked(p, &begun{b, t.Led()})
	g.mu.Unlock()
	if b.AwaitOwn() != nil {
		return g.await(p)
	}
	g.mu.Lock()
	select {
	case o := <-p.done: // it is committed, or to be placed again
		g.mu.Unlock()
		return o.err
	default:
	}
	answered := g.answerEarlyLocked(p, size)
	g.mu.Unlock()
	if answered {
		return nil
	}
	return g.await(p)
}

// startedLocked notes that a publish was begun on this node.
func (g *group) startedLocked(p *publish, b *begun) {
	p.begun, p.frames, p.unknown = b, nil, true
	g.begun = append(g.begun, p)
	if !g.settles {
		g.settles = g.f.spawn(g.settle)
	}
}

// settle waits for the commits of what was begun on this node, in order, until there is nothing.
func (g *group) settle() {
	for {
		g.mu.Lock()
		if len(g.begun) == 0 {
			g.begun, g.settles = nil, false
			g.mu.Unlock()
			return
		}
		p := g.begun[0]
		b := p.begun
		g.mu.Unlock()
		err := b.Await()
		g.mu.Lock()
		g.begun[0] = nil
		g.begun = g.begun[1:]
		g.settledLocked(p, b, err)
		again := err != nil && !g.strayLocked()
		g.mu.Unlock()
		if again && g.start() {
			g.wake()
		}
	}
}

// settledLocked sees to a publish whose commit is known, or will never be: then it is placed again.
func (g *group) settledLocked(p *publish, b *begun, err error) {
	switch {
	case p.over:
	case err == nil && p.early:
		g.endLocked(p, nil)
	case err == nil:
		p.over = true
		p.done <- outcome{}
	default:
		if p.begun = nil; g.led == b.led {
			g.led = nil // its reign is over, whether that was told yet or not
		}
		if !b.Again() { // else they were kept
			p.frames, p.count = b.Frames()
		}
		if p.early {
			g.enqueueLocked(p)
		} else {
			p.done <- outcome{err: errRetry}
		}
	}
}

// strayLocked reports whether it is not known yet what has become of publishes that were begun on this node, in a reign that is over, or of the one
// that is being begun: nothing is sent elsewhere before it, or begun.
func (g *group) strayLocked() bool {
	return g.placing != nil || len(g.begun) > 0 && g.begun[0].begun.led != g.led
}

// behind reports whether a publish must wait until others before it are placed.
func (g *group) behind(p *publish) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.waits = len(g.begun) > 0 && g.begun[0].begun.led != g.led || g.placing != nil && g.placing.number < p.number ||
		slices.ContainsFunc(g.queue, func(other *publish) bool { return other.number < p.number })
	return p.waits
}

// place empties the queue while this node leads: what was answered early is begun here, in order, and the rest is given back to who waits for it, each once
// those before it are placed.
func (g *group) place() {
	for {
		g.mu.Lock()
		led := g.led
		if led == nil || g.strayLocked() {
			g.mu.Unlock()
			return
		}
		g.endEpochLocked()
		if len(g.queue) == 0 {
			g.mu.Unlock()
			return
		}
		p := g.queue[0]
		if !p.early {
			g.takeLocked(p)
			p.giveBack()
			g.mu.Unlock()
			continue
		}
		g.placing = p
		r := journal.Origin{ID: g.f.origin, Number: p.number, Low: g.lowLocked()}
		g.mu.Unlock()
		b, err := p.beginOn(led, r)
		g.mu.Lock()
		g.placing = nil
		done := g.placedLocked(p, led, b, err)
		g.mu.Unlock()
		if !done {
			return
		}
	}
}

// giveBack has who waits for a publish place it itself, at once if it only waited for others.
func (p *publish) giveBack() {
	if p.waits {
		p.done <- outcome{err: errNow}
	} else {
		p.done <- outcome{err: errRetry}
	}
}

// beginOn begins a publish on this node.
func (p *publish) beginOn(led *topic.Led, from journal.Origin) (b topic.Begun, err error) {
	t := led.Topic(p.topic)
	if t == nil {
		return b, cmp.Or(led.Barred(p.topic), errRetry)
	}
	batch, err := topic.BatchOf(p.frames, p.count)
	if err != nil {
		return b, err
	}
	batch.Due, batch.From, batch.InOrder = p.due, from, p.inOrder
	return t.Begin(&batch, p.rest(time.Now()))
}

// placedLocked sees to what has come of beginning a publish, and reports false when that is to be tried again.
func (g *group) placedLocked(p *publish, led *topic.Led, b topic.Begun, err error) bool {
	for _, again := range [...]error{errRetry, topic.ErrNotLeader, topic.ErrExiting, topic.ErrTwice, topic.ErrNoRoom} {
		if errors.Is(err, again) {
			return false
		}
	}
	g.takeLocked(p)
	switch {
	case err != nil:
		g.endLocked(p, err)
	case b.Again():
		frames := p.frames
		g.startedLocked(p, &begun{b, led})
		p.frames = frames // b has none
	default:
		g.startedLocked(p, &begun{b, led})
	}
	return true
}

// takeLocked takes a publish out of the queue, of which nothing is sent.
func (g *group) takeLocked(p *publish) {
	p.queued = false
	if g.queue[0] == p {
		g.queue[0] = nil
		g.queue = g.queue[1:]
	} else if i := slices.Index(g.queue, p); i > 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	}
}

var (
	errKeptTooLong = fmt.Errorf("nobody has taken them within %v", keptFor)
	errStopped     = errors.New("the broker has stopped before")
	errDeleted     = errors.New("the topic was deleted")
)

// tendLocked gives up what was answered early and cannot be done any more.
func (g *group) tendLocked(now time.Time) {
	for _, p := range g.open {
		if p == nil || p.over || !p.early {
			continue
		}
		if now.Before(p.until) {
			break
		}
		g.endLocked(p, errKeptTooLong)
	}
	for len(g.queue) > g.epoch.sent && g.queue[g.epoch.sent].early {
		p := g.queue[g.epoch.sent]
		t, ok, err := g.f.o.Cluster.Find(p.name)
		if err != nil || ok && !t.Deleting && t.Group == g.number && t.Number == p.topic {
			break
		}
		g.endLocked(p, errDeleted)
	}
}

// abandon counts what is left that was answered early: the Forwarder is closed.
func (g *group) abandon() {
	g.mu.Lock()
	for _, p := range slices.Clone(g.open) {
		if p != nil && p.early && !p.over {
			g.endLocked(p, errStopped)
		}
	}
	lost := g.losses.take(time.Now(), true)
	g.mu.Unlock()
	g.f.say(lost)
}

// losses are messages that were answered early and not taken, and of which the log does not tell yet.
type losses struct {
	list []loss
	said time.Time
}

type loss struct {
	topic    string
	messages int
	err      error
}

// sayEvery is the time between two lines of the log about losses of a group.
const sayEvery = time.Second

func (l *losses) add(p *publish, err error) {
	for i := range l.list {
		if of := &l.list[i]; of.topic == p.name && of.err.Error() == err.Error() {
			of.messages += p.count
			return
		}
	}
	l.list = append(l.list, loss{p.name, p.count, err})
}

// take returns what the log is to tell of now.
func (l *losses) take(now time.Time, all bool) (list []loss) {
	if len(l.list) == 0 || !all && now.Sub(l.said) < sayEvery {
		return nil
	}
	list, l.list, l.said = l.list, nil, now
	return list
}

func (f *Forwarder) say(list []loss) {
	for _, l := range list {
		f.o.Log.Error("messages that were answered early, as acks 0 or 1 asks for, were not taken", "topic", l.topic, "messages", l.messages, "error", l.err)
	}
}

// Early returns how many messages were answered early and are not known to be committed.
func (f *Forwarder) Early() int { return int(f.early.messages.Load()) }

// settleTicks is how often Settle looks.
const settleTicks = 2 * time.Millisecond

// Settle returns once nothing is left that was answered early and is not known to be committed, or ctx ends; left is how many messages are then.
func (f *Forwarder) Settle(ctx context.Context) (left int) {
	if f.Early() == 0 {
		return 0
	}
	tick := time.NewTicker(settleTicks)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return f.Early()
		}
		if f.Early() == 0 {
			return 0
		}
	}
}
