package channel

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// state is where the model has a message, by what the machine has said.
type state uint8

const (
	waits state = iota // it has not left the backlog
	out                // it has, and not the channel
	gone
)

// model is a machine, and what becomes of its messages by its effects alone, as the log is told.
type model struct {
	t         *testing.T
	rand      *rand.Rand
	m         Machine
	tail      backlog.Tail
	frames    map[Position]protocol.MessageFrame
	keys      map[Position]uint32
	states    map[Position]state
	withdrawn map[Position]bool
	consumers []*modelConsumer
	next      Position
	burial    *Burial        // that goes on
	pulled    *Pulled        // the same
	moving    []Position     // by one of these, once a record says so
	emptied   bool           // the channel, since that
	last      backlog.Extent // of the last publish, as long as nobody is shown it
	lastDue   bool           // it is deferred
	final     bool           // everything is answered with FIN
	recheck   bool           // the machine wants to be looked at soon
	log       []string
}

type modelConsumer struct {
	Consumer
	has []protocol.MessageID
	on  bool // it has been woken, and has not come since
}

func (c *modelConsumer) Wake() { c.on = true }
func (*modelConsumer) Close()  {}

func newModel(t *testing.T, seed uint64) *model {
	w := &model{t: t, rand: rand.New(rand.NewPCG(seed, 1)), frames: map[Position]protocol.MessageFrame{}, keys: map[Position]uint32{},
		states: map[Position]state{}, withdrawn: map[Position]bool{}, next: 1}
	fresh := protocol.MessageID(1 << 40)
	rules := &Rules{MemQueueSize: 1 + w.rand.IntN(50), TopologyAware: w.rand.IntN(4) == 0, Random: w.rand.IntN,
		FreshID: func() protocol.MessageID { fresh++; return fresh }}
	w.m.Init(rules, rules.MemQueueSize, false)
	w.m.At = Moment{Now: 1, Stamp: 1, Limits: &Limits{MaxMsgTimeout: time.Hour, MaxReqTimeout: time.Hour}}
	if w.rand.IntN(2) == 0 {
		w.setPolicy()
	}
	return w
}

// kept applies what the machine has left: a message that is where it cannot have come from is a fault.
func (w *model) kept() {
	w.t.Helper()
	if e := w.m.Left(); e.Any() {
		move := func(list []backlog.Range, from, to state, what string) {
			for _, r := range list {
				for pos := r.First; pos <= r.Last; pos++ {
					if had, known := w.states[pos]; !known || had != from {
						w.fail("message %d is %s, and was in state %d", pos, what, had)
					}
					w.states[pos] = to
				}
			}
		}
		move(e.Fresh, waits, out, "delivered")
		move(e.Again, out, out, "delivered again")
		move(e.Aside, waits, out, "set aside")
		move(e.Pulled, waits, out, "pulled")
		for _, d := range e.Deferred {
			move([]backlog.Range{{First: d.Pos, Last: d.Pos}}, out, out, "deferred")
		}
		move(e.Finished, out, gone, "finished")
		move(e.Moved, out, gone, "moved")
		for _, d := range e.Discarded {
			from := waits
			if d.Out {
				from = out
			}
			move([]backlog.Range{d.Range}, from, gone, fmt.Sprint("discarded by reason ", d.Why))
		}
		e.Reset()
	}
	w.recheck = w.recheck || w.m.Asks.Recheck
	w.m.Asks = Asks{}
	if err := w.m.Check(); err != nil {
		w.fail("%v", err)
	}
	var waiting []Position
	for _, r := range w.m.Waiting(nil) {
		for pos := r.First; pos <= r.Last; pos++ {
			waiting = append(waiting, pos)
		}
	}
	want := map[state][]Position{}
	for _, pos := range slices.Sorted(maps.Keys(w.states)) {
		want[w.states[pos]] = append(want[w.states[pos]], pos)
	}
	if !slices.Equal(waiting, want[waits]) {
		w.fail("in the backlog are %v, by what was said %v", waiting, want[waits])
	}
	var left []Position
	for _, list := range w.m.EachOut(func(pos Position, _ uint16) { left = append(left, pos) }) {
		for p := range list.All() {
			left = append(left, p.Pos)
		}
	}
	left = append(left, w.moving...)
	slices.Sort(left)
	if !slices.Equal(left, want[out]) {
		w.fail("out are %v, by what was said %v", left, want[out])
	}
	w.comes()
}

// comes proves that while somebody has credit and there is something for him, somebody is on his way to it, or the machine is to be looked at soon: else
// messages lie there until something else happens. And nothing is set aside but for who is on his way.
func (w *model) comes() {
	w.t.Helper()
	woken, reserved := 0, 0
	idle, busy := false, w.recheck
	for _, c := range w.consumers {
		s := &c.Consumer
		if s.woken {
			woken++
			if !c.on {
				w.fail("a consumer counts as woken, and was not")
			}
		}
		reserved += s.reserved
		idle = idle || s.parked && s.ready > s.inflight
		busy = busy || !s.parked
	}
	if woken != w.m.woken || reserved != w.m.reserved {
		w.fail("%d consumers are woken for %d messages, counted are %d for %d", woken, reserved, w.m.woken, w.m.reserved)
	}
	if idle && !busy && !w.m.At.Held && w.m.work() {
		w.fail("a consumer has credit, there is something to deliver, and nobody comes for it: %+v", w.m.Stats())
	}
}

// rest has everybody take who is on his way, until all have found nothing.
func (w *model) rest() {
	for again := true; again; {
		again = false
		for _, c := range w.consumers {
			for !c.parked {
				again = true
				w.take(c)
			}
		}
	}
	w.recheck = false
	w.m.Sweep(1000)
	w.note("rest")
	w.kept()
}

func (w *model) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter %v", fmt.Sprintf(format, args...), w.log)
}

func (w *model) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

// publish gives the machine messages, which are shown at once or a little later.
func (w *model) publish() {
	n := 1 + w.rand.IntN(5)
	var frames []byte
	var sums []uint32
	for i := range n {
		pos := w.next + Position(i)
		at := len(frames)
		frames = protocol.AppendMessageHeader(frames, w.m.At.Stamp, 1, protocol.MessageID(pos), 4)
		frames = append(frames, "body"...)
		w.frames[pos] = slices.Clone(frames[at:])
		w.keys[pos] = uint32(w.rand.IntN(4)) // 0: it has none
		sums = append(sums, w.keys[pos])
	}
	at, _ := w.tail.Append(frames)
	at = w.tail.Note(at, w.next, n)
	w.tail.NoteSums(at, sums)
	w.last = at
	due := int64(0)
	if w.rand.IntN(4) == 0 {
		due = w.m.At.Now + w.rand.Int64N(100)
	}
	for i := range n {
		pos := w.next + Position(i)
		if due > 0 {
			w.states[pos] = out
			w.m.DeferPlace(inflight.Place{At: due, Pos: pos, Off: inflight.NoOffset}, len(w.frames[pos]))
		} else {
			w.states[pos] = waits
		}
	}
	if due == 0 {
		w.m.Accept(at, n)
	}
	w.lastDue = due > 0
	w.note("publish %d, due %d", n, due)
	w.next += Position(n)
	w.kept()
	if w.rand.IntN(3) > 0 || w.final {
		w.show()
	}
}

func (w *model) show() {
	count := 0
	for pos := w.m.At.Shown + 1; pos < w.next; pos++ {
		if w.states[pos] == waits {
			count++
		}
	}
	w.m.At.Shown = w.next - 1
	w.m.Show(count, nil)
	w.note("show")
	w.kept()
}

// withdraw takes back the last publish, as the log has refused it: nobody may get any of it. What is deferred counts until it is due.
func (w *model) withdraw() {
	r := w.last.Positions()
	if r.First <= w.m.At.Shown || w.final {
		return
	}
	w.m.Withdraw(w.last, w.lastDue)
	for pos := r.First; pos <= r.Last; pos++ {
		w.withdrawn[pos] = true
		if !w.lastDue && w.states[pos] == waits {
			delete(w.states, pos)
		}
	}
	w.last = backlog.Extent{}
	w.note("withdraw %v", r)
	w.kept()
}

// hold has consumers get nothing, or something again.
func (w *model) hold(on bool) {
	w.m.At.Held = on
	w.m.Resettle()
	w.note("hold %v", on)
	w.kept()
}

func (w *model) join() {
	c := &modelConsumer{}
	c.Consumer = Consumer{Owner: c, Ref: c, Locality: Locality(w.rand.IntN(3)), Sample: w.rand.IntN(5) / 4 * 50}
	w.m.Join(&c.Consumer, time.Duration(20+w.rand.IntN(3)), w.rand.IntN(2) == 0)
	w.m.SetReady(&c.Consumer, 1+w.rand.IntN(10))
	w.consumers = append(w.consumers, c)
	w.note("join")
	w.kept()
}

// take is what topic.Subscription.Take does.
func (w *model) take(c *modelConsumer) int {
	var d Delivery
	c.on = false
	for filled := false; ; filled = true {
		n, fill := w.m.Take(&c.Consumer, &d, true, filled)
		w.kept()
		if !fill {
			for _, run := range d.Runs {
				for frames := run.Frames; len(frames) > 0; {
					f := protocol.FirstMessage(frames)
					frames = frames[len(f):]
					c.has = append(c.has, f.MustID())
				}
			}
			w.note("take %d", n)
			w.took(c, n)
			return n
		}
		f := w.m.BeginFill()
		for _, s := range f.Retries {
			switch k := w.rand.IntN(20); {
			case k == 0 && !w.final:
				f.Later = append(f.Later, s)
			case k == 1 && !w.final:
				f.Lost = append(f.Lost, s)
			default:
				r := Retry{Frame: w.frames[s.Pos], Pos: s.Pos, Turn: uint64(s.At), Attempts: s.Attempts}
				if f.Keyed {
					r.Key = w.keys[s.Pos]
				}
				f.Loaded = append(f.Loaded, r)
			}
		}
		w.kept()
		ready := w.m.EndFill(&f)
		w.note("fill %d, lost %d", len(f.Retries), len(f.Lost))
		w.kept()
		if !ready {
			w.m.Rest(&c.Consumer)
			w.kept()
			return 0
		}
	}
}

// took proves that nobody has more than he may, nor the channel out, nothing that was withdrawn, and of each key one message at most, but for those that were
// out before keys counted.
func (w *model) took(c *modelConsumer, n int) {
	w.t.Helper()
	if p := w.m.policy; p != nil && n > 0 && p.MaxInFlight > 0 && w.m.inflight.Len() > p.MaxInFlight {
		w.fail("%d messages are in flight", w.m.inflight.Len())
	}
	if n > 0 && c.inflight > c.ready {
		w.fail("a consumer has %d messages, and credit for %d", c.inflight, c.ready)
	}
	out := map[uint32]Position{}
	w.m.inflight.Each(func(pos Position, _ uint16) {
		if w.withdrawn[pos] {
			w.fail("message %d is delivered, and was withdrawn", pos)
		}
		key := w.keys[pos]
		if key == 0 || w.m.order == nil || w.m.order.unsure[pos] {
			return
		}
		if other, some := out[key]; some {
			w.fail("messages %d and %d of one key are out together", other, pos)
		}
		out[key] = pos
	})
}

// answer answers some of what a consumer has; it may have come back meanwhile.
func (w *model) answer(c *modelConsumer) {
	var answers []Answer
	for _, id := range c.has {
		a := Answer{ID: id, Verb: Finish}
		if !w.final {
			a.Verb = Verb(w.rand.IntN(3))
			a.Delay = time.Duration(w.rand.IntN(2) * w.rand.IntN(50))
		}
		answers = append(answers, a)
	}
	w.m.Answer(&c.Consumer, answers, nil, nil)
	c.has = nil
	for _, a := range answers {
		if a.Verb == Touch && a.Err == nil {
			c.has = append(c.has, a.ID)
		}
	}
	w.note("answer %d", len(answers))
	w.kept()
}

func (w *model) pass(d int64) {
	w.m.At.Now += d
	w.m.At.Stamp += d
	w.m.Sweep(1000)
	w.note("pass %d", d)
	w.kept()
}

// byHand is one of what people do.
func (w *model) byHand() {
	pos := 1 + Position(w.rand.Uint64N(uint64(w.next)))
	var place *inflight.Place
	if s, ok := w.m.DeferredHolding(pos).Find(pos); ok {
		place = &s
	}
	switch w.rand.IntN(6) {
	case 0:
		w.note("cancel %d: %v", pos, w.m.Cancel(pos, place))
	case 1:
		w.note("release %d: %v", pos, w.m.Release(pos, place))
	case 2:
		w.note("finish %d: %v", pos, w.m.FinishByHand(pos, place))
	case 3:
		if w.rand.IntN(5) == 0 {
			w.note("skip to %d: %v", pos, w.m.Skip(pos, w.rand.IntN(2) == 0, false))
		}
	case 4:
		w.setPolicy()
	case 5:
		if w.rand.IntN(10) == 0 || w.burial != nil || w.pulled != nil {
			w.m.Clear(journal.Emptied)
			w.emptied = len(w.moving) > 0
			for pos := range w.states {
				if !slices.Contains(w.moving, pos) { // what becomes of these the record says
					w.states[pos] = gone
				}
			}
			for _, c := range w.consumers {
				c.has = nil
			}
			w.note("clear")
		}
	}
	w.kept()
}

// setPolicy puts other options in force.
func (w *model) setPolicy() {
	p := &policy.Policy{MaxInFlight: w.rand.IntN(2) * 5}
	p.MaxDepth, p.Overflow = int64(w.rand.IntN(2)*30), policy.DropOldest
	p.MaxAttempts = uint16(w.rand.IntN(2) * 4)
	if w.rand.IntN(2) == 0 {
		p.DeadLetter = "letters"
		if w.rand.IntN(2) == 0 {
			p.Overflow = policy.ToDeadLetter
		}
	}
	var ordered *policy.Policy
	if w.rand.IntN(2) == 0 {
		ordered = p
	}
	if w.m.SetPolicy(p, ordered, false, false) {
		w.m.EnforcePolicy()
	}
	w.m.MakeRoom()
	w.note("policy %+v, ordered %v", *p, ordered != nil)
}

// bury is the next step of what topic.Channel.burySome does: others come between.
func (w *model) bury() {
	b := w.burial
	switch {
	case b == nil && w.pulled == nil && w.m.graves != nil:
		w.m.StartBurial(func() bool { return true })
		if w.burial = w.m.BeginBurial(nil); w.burial != nil {
			w.note("bury %d", len(w.burial.List))
		}
	case b == nil:
	case !b.Stands() || w.moving != nil || w.rand.IntN(10) == 0:
		var refused error
		if w.moving == nil || w.rand.IntN(2) == 0 {
			refused = []error{ErrFewer, ErrNothing, errRefused}[w.rand.IntN(3)]
		}
		moved := w.moving
		w.burial, w.moving = nil, nil
		b.End(refused, w.rand.IntN(3))
		w.note("buried: %v", refused)
		w.ended(moved)
	default:
		var s Sorted
		for _, d := range b.List {
			to := [...]*[]Corpse{&s.On, &s.On, &s.On, &s.Later, &s.Lost, &s.Large}[w.rand.IntN(6)]
			*to = append(*to, d)
		}
		if on, _ := b.Narrow(&s); len(on) > 0 {
			b.Write()
			for _, d := range on {
				w.moving = append(w.moving, d.Pos)
			}
		} else {
			b.End(ErrNothing, 0)
			w.burial = nil
		}
		w.note("narrowed to %d", len(s.On))
	}
	w.kept()
}

var errRefused = errors.New("refused")

// ended proves that of messages that were on their way none comes back to a channel that was emptied since.
func (w *model) ended(moved []Position) {
	w.t.Helper()
	w.kept()
	for _, pos := range moved {
		if w.emptied && w.states[pos] != gone {
			w.fail("message %d has come back to a channel that was emptied", pos)
		}
	}
	w.emptied = false
}

// pull is the next step of a redrive off the channel.
func (w *model) pull() {
	if w.pulled != nil {
		var failed error
		if w.rand.IntN(2) == 0 {
			failed = errRefused
		}
		pulled, moved := w.pulled, w.moving
		w.pulled, w.moving = nil, nil
		pulled.End(failed)
		w.note("pulled: %v", failed)
		w.ended(moved)
		return
	}
	where := map[Position]Whereabouts{}
	for range 5 {
		where[1+Position(w.rand.Uint64N(uint64(w.next)))] = 0
	}
	if w.m.Whereabouts(where) || w.burial != nil {
		return
	}
	var list []Position
	gone := map[Position]bool{}
	for _, pos := range slices.Sorted(maps.Keys(where)) {
		if where[pos] == Waits && pos <= w.m.At.Shown && !w.m.isVoid(pos) {
			list, gone[pos] = append(list, pos), true
		}
	}
	pulled := w.m.Pull(list, gone)
	w.pulled, w.moving = &pulled, list
	w.note("pull %v", list)
	w.kept()
}

func (w *model) step() {
	switch k := w.rand.IntN(24); {
	case k < 5:
		w.publish()
	case k == 5 && w.rand.IntN(3) == 0:
		w.withdraw()
	case k == 5:
		w.show()
	case k == 6 && len(w.consumers) < 5 || len(w.consumers) == 0:
		w.join()
	case k < 12:
		w.take(w.consumers[w.rand.IntN(len(w.consumers))])
	case k < 16:
		w.answer(w.consumers[w.rand.IntN(len(w.consumers))])
	case k == 16:
		i := w.rand.IntN(len(w.consumers))
		w.m.Leave(&w.consumers[i].Consumer)
		w.consumers = slices.Delete(w.consumers, i, i+1)
		w.note("leave")
		w.kept()
	case k == 17:
		w.byHand()
	case k == 18:
		w.bury()
	case k == 19 && w.rand.IntN(3) == 0:
		w.pull()
	case k == 22:
		w.m.SetReady(&w.consumers[w.rand.IntN(len(w.consumers))].Consumer, [...]int{0, 0, 1, 3, 10}[w.rand.IntN(5)])
		w.note("ready")
		w.kept()
	case k == 20 && w.rand.IntN(5) == 0:
		w.hold(!w.m.At.Held)
	default:
		w.pass(w.rand.Int64N(30))
	}
	if w.rand.IntN(2) == 0 {
		w.rest()
	}
}

// finish has everything be consumed: then nothing may be left.
func (w *model) finish() {
	w.final = true
	w.hold(false)
	for w.burial != nil {
		w.bury()
	}
	if w.pulled != nil {
		w.pull()
	}
	p := &policy.Policy{}
	if w.m.order != nil { // keys go on counting: turns that nobody passes on show here
		w.m.SetPolicy(p, p, false, false)
	} else {
		w.m.SetPolicy(p, nil, false, false)
	}
	w.m.EnforcePolicy()
	w.show()
	for rounds := 0; w.m.Held() > 0; rounds++ {
		if rounds > 1000 {
			w.fail("%d messages never come: %+v", w.m.Held(), w.m.Stats())
		}
		if len(w.consumers) == 0 {
			w.join()
		}
		for _, c := range w.consumers {
			w.m.SetReady(&c.Consumer, 10)
			w.take(c)
			w.answer(c)
		}
		w.pass(100)
	}
	for pos, s := range w.states {
		if s != gone {
			w.fail("message %d is in state %d, and the machine has none", pos, s)
		}
	}
}

// TestModel: whatever happens to a channel, each message is in one state, it gets there from where it was, and what the machine says of that is what it
// has: the log is told nothing else. In the end all messages have come.
func TestModel(t *testing.T) {
	for seed := range uint64(300) {
		w := newModel(t, seed)
		w.note("seed %d", seed)
		for range 150 {
			w.step()
		}
		w.finish()
	}
}
