package forward

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
)

// group is this node's publishes of one group.
type group struct {
	f      *Forwarder
	number uint32
	kick   chan struct{}

	mu       sync.Mutex // guards what follows; what is asked of the cluster may be locked under it
	last     uint64     // number of the newest publish
	open     []*publish // that somebody waits for, in the order of their numbers, and some that nobody does
	led      *topic.Led // this node serves the topics
	runs     bool       // there is a goroutine
	hint     string     // who may lead, as another node said last
	turns    int        // nodes that were asked one after the other
	rest     time.Time  // until when no epoch begins
	inquired time.Time  // when others were asked last who leads
	queue    []*publish // for another node: first those that were sent in this epoch. When this node leads: to be placed here
	epoch    epoch

	begun   []*publish // on this node, by begin or place, and not known to be committed
	settles bool       // there is a goroutine for them
	placing *publish   // that is being begun by place; nil: none
	losses  losses     // of what was answered early
}

// epoch is publishes that were sent to one node over one link, one behind the other.
type epoch struct {
	number uint64
	folder string
	link   uint64    // 0: there is none
	ready  bool      // the probe was answered: the node leads
	base   uint32    // seq of the first in the queue
	sent   int       // of the queue
	bytes  int       // of them
	heard  time.Time // when something was answered, or the oldest that is not was sent
}

// mostSeq is how many publishes an epoch has, about.
const mostSeq = 1 << 31

// window is how many bytes of a group's publishes are sent and not answered, or one that is longer.
const window = 4 << 20

// dropLocked says that nobody waits for a publish any more.
func (g *group) dropLocked(p *publish) {
	if p.over {
		return
	}
	p.over = true
	if p.queued {
		if i := slices.Index(g.queue, p); i >= g.epoch.sent { // one that was sent is answered, or the epoch ends
			g.queue = slices.Delete(g.queue, i, i+1)
			p.queued = false
		}
	}
	g.lowLocked()
}

// lowLocked returns the lowest number that is unanswered.
func (g *group) lowLocked() uint64 {
	i := 0
	for i < len(g.open) && g.open[i].over {
		g.open[i] = nil
		i++
	}
	if g.open = g.open[i:]; len(g.open) == 0 {
		return g.last + 1
	}
	return g.open[0].number
}

// origin returns what a publish of this node says of itself.
func (g *group) origin(number uint64) journal.Origin {
	g.mu.Lock()
	defer g.mu.Unlock()
	return journal.Origin{ID: g.f.origin, Number: number, Low: g.lowLocked()}
}

func (g *group) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// carry has who leads carry a publish out, and waits for what becomes of it.
func (g *group) carry(p *publish) error {
	if p.frames == nil {
		p.frames, p.count = p.b.Frames()
	}
	if p.done == nil {
		p.done = make(chan outcome, 1)
	}
	g.mu.Lock()
	if p.acks < policy.AcksAll {
		g.renumberLocked(p)
	}
	g.enqueueLocked(p)
	g.advanceLocked(time.Now())
	g.mu.Unlock()
	if !g.start() {
		return topic.ErrExiting
	}
	return g.await(p)
}

// start sees to it that there is a goroutine. It reports false once the Forwarder is closed.
func (g *group) start() bool {
	g.mu.Lock()
	begins := !g.runs
	g.runs = true
	g.mu.Unlock()
	return !begins || g.f.spawn(g.run)
}

// await waits for what becomes of a publish.
func (g *group) await(p *publish) error {
	late := time.NewTimer(time.Until(p.deadline))
	defer late.Stop()
	var o outcome
	select {
	case o = <-p.done:
	case <-late.C:
		if o = g.giveUp(p); o.err == nil {
			o.err = p.late()
		} else if o.err == errDone {
			o.err = nil
		}
	case <-g.f.ctx.Done():
		return topic.ErrExiting
	}
	if o.err == nil && !o.early {
		p.b.SetReceipt(o.receipt)
	}
	return o.err
}

// errDone is an outcome that is none.
var errDone = errors.New("it is done")

// enqueueLocked puts a publish where its number belongs, behind those that were sent.
func (g *group) enqueueLocked(p *publish) {
	i := len(g.queue)
	for i > g.epoch.sent && g.queue[i-1].number > p.number {
		i--
	}
	g.queue = slices.Insert(g.queue, i, p)
	p.queued = true
}

// giveUp takes a publish back whose time is over, and returns what has become of it just now: errDone when it was taken.
func (g *group) giveUp(p *publish) outcome {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case o := <-p.done:
		if o.err == nil {
			o.err = errDone
		}
		return o
	default:
	}
	g.dropLocked(p)
	return outcome{}
}

// run sees to what nobody tells of, as long as publishes are in the queue, and a moment longer.
func (g *group) run() {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for idle := 0; idle < mostIdle; {
		select {
		case <-g.kick:
		case <-tick.C:
			idle++
		case <-g.f.ctx.Done():
			g.mu.Lock()
			g.runs = false
			g.mu.Unlock()
			return
		}
		g.place()
		g.mu.Lock()
		now := time.Now()
		g.tendLocked(now)
		if g.led == nil {
			g.advanceLocked(now)
		}
		if len(g.queue) > 0 {
			idle = 0
		}
		lost := g.losses.take(now, idle >= mostIdle)
		if idle >= mostIdle {
			g.runs = false
		}
		g.mu.Unlock()
		g.f.say(lost)
	}
}

// mostIdle is after how many ticks without a publish the goroutine of a group ends.
const mostIdle = 100

// advanceLocked sends what can be sent, to who leads now.
func (g *group) advanceLocked(now time.Time) {
	if g.led != nil {
		g.endEpochLocked()
		if len(g.queue) > 0 {
			g.wake() // for place
		}
		return
	}
	if len(g.queue) == 0 || g.strayLocked() {
		return
	}
	e := &g.epoch
	folder := g.leaderLocked()
	link := uint64(0)
	if folder != "" {
		link = g.f.o.Cluster.Link(folder)
	}
	waits := e.link != 0 && (!e.ready || e.sent > 0)
	if waits {
		g.inquireLocked(e.folder, e.heard, now)
	}
	silent := waits && now.Sub(e.heard) > g.f.o.Wait
	if e.link == 0 || folder != e.folder || link != e.link || silent {
		if now.Before(g.rest) {
			return
		}
		g.rest = now.Add(retryEvery)
		g.endEpochLocked()
		if link == 0 {
			g.turns++
			return
		}
		g.beginLocked(folder, link)
	}
	g.sendLocked(now)
}

// leaderLocked returns whom to ask.
func (g *group) leaderLocked() string {
	c := g.f.o.Cluster
	self, lead := c.Self(), c.Leader(g.number)
	switch {
	case lead == self: // it is about to serve, or to lose the lead
		return ""
	case lead != "":
		return lead
	case g.hint != "" && g.hint != self && c.Link(g.hint) != 0:
		return g.hint
	}
	g.hint = "" // who was said to lead is dead, or far away
	others := slices.DeleteFunc(slices.Clone(c.Replicas(g.number)), func(folder string) bool { return folder == self || c.Link(folder) == 0 })
	if len(others) == 0 {
		return ""
	}
	return others[g.turns%len(others)]
}

// endEpochLocked ends the epoch. What was sent in it and is unanswered is sent again.
func (g *group) endEpochLocked() {
	sent := g.epoch.sent
	g.epoch = epoch{number: g.epoch.number}
	if sent > 0 { // else none of them is over, and they are in order
		g.queue = slices.DeleteFunc(g.queue, func(p *publish) bool { return p.over })
		slices.SortFunc(g.queue, func(a, b *publish) int { return cmp.Compare(a.number, b.number) })
	}
}

// beginLocked begins an epoch: a probe.
func (g *group) beginLocked(folder string, link uint64) {
	g.epoch = epoch{number: g.epoch.number + 1, folder: folder, link: link, base: 1, heard: time.Now()}
	r := request{place: g.placeLocked(0)}
	if err := g.f.o.Cluster.Send(folder, framePublish, g.number, r.appendHead(nil)); err != nil {
		g.endEpochLocked()
	}
}

func (g *group) placeLocked(seq uint32) place { return place{g.f.origin, g.epoch.number, seq} }

// sendLocked sends what is not sent yet, as far as the window allows.
func (g *group) sendLocked(now time.Time) {
	e := &g.epoch
	if e.base > mostSeq {
		g.endEpochLocked()
		return
	}
	for e.ready && e.sent < len(g.queue) {
		p := g.queue[e.sent]
		if !p.early && now.After(p.deadline) { // it is about to be given up
			g.queue = slices.Delete(g.queue, e.sent, e.sent+1)
			p.queued = false
			continue
		}
		if e.bytes > 0 && e.bytes+len(p.frames) > window {
			return
		}
		r := request{place: g.placeLocked(e.base + uint32(e.sent)), number: p.number, low: g.lowLocked(), topic: p.topic, receipt: p.receipt, acks: p.asked,
			early: p.early, delay: p.rest(now), due: p.due, count: p.count}
		if r.early {
			r.acks = policy.AcksAll
			if p.inOrder {
				r.acks = policy.AcksNone
			}
		}
		var head [publishSize]byte
		switch err := g.f.o.Cluster.Send(e.folder, framePublish, g.number, r.appendHead(head[:0]), p.frames); {
		case errors.Is(err, peer.ErrFull):
			return
		case err != nil:
			g.endEpochLocked()
			return
		}
		p.unknown = true
		if e.sent == 0 {
			e.heard = now
		}
		e.sent++
		e.bytes += len(p.frames)
	}
}

// answered takes answers of who leads.
func (f *Forwarder) answered(folder string, number uint32, payload []byte) {
	origin, epoch, list, err := parseAnswers(payload)
	if err != nil || origin != f.origin {
		return
	}
	g := f.known(number)
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range list {
		if epoch != g.epoch.number || g.epoch.link == 0 || folder != g.epoch.folder || !g.answerLocked(a) {
			return
		}
	}
	g.lowLocked()
	g.advanceLocked(time.Now())
}

// answerLocked takes one, and reports whether the epoch goes on.
func (g *group) answerLocked(a answer) bool {
	e := &g.epoch
	e.heard = time.Now()
	switch a.code {
	case codeReady:
		e.ready = true
		return true
	case codeAgain:
		g.hint = string(a.data)
		if g.turns++; g.hint == "" || g.hint == e.folder {
			g.hint, g.rest = "", time.Now().Add(retryEvery)
		} else {
			g.rest = time.Time{}
		}
		g.endEpochLocked()
		g.wake()
		return false
	}
	n := int(a.seq-e.base) + 1
	switch {
	case a.code == codeKept && a.seq < e.base:
		return true // it is committed already
	case a.seq < e.base || n > e.sent:
		g.endEpochLocked() // it makes no sense: all is asked again
		return false
	case a.code == codeKept:
		if p := g.queue[n-1]; g.answerEarlyLocked(p, len(p.frames)) {
			p.done <- outcome{early: true}
		}
		return true
	}
	last := outcomeOf(a)
	if last.err != nil && errors.Is(last.err, errRetry) && g.queue[n-1].early { // the leader is newer than this node
		g.endEpochLocked()
		return false
	}
	for i, p := range g.queue[:n] {
		o := outcome{}
		if i == n-1 {
			o = last
		}
		e.bytes -= len(p.frames)
		p.queued = false
		switch {
		case p.over:
		case p.early:
			g.f.counts.carried(o.err)
			g.endLocked(p, o.err)
		default:
			p.over = !errors.Is(o.err, errRetry)
			p.done <- o
		}
	}
	clear(g.queue[:n])
	g.queue = g.queue[n:]
	e.sent -= n
	e.base += uint32(n)
	return true
}

// outcomeOf returns what an answer says of its publish.
func outcomeOf(a answer) outcome {
	switch a.code {
	case codeTaken:
		return outcome{}
	case codeReceipt:
		r, err := parseReceipt(a.data)
		if err != nil {
			r = topic.Receipt{}
		}
		return outcome{receipt: r}
	case codeRefused:
		return outcome{err: parseRefusal(a.data)}
	}
	return outcome{err: errRetry} // the leader has no such topic, or is newer than this node
}
