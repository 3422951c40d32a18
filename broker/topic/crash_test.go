package topic

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

var crashRuns = flag.Int("crash-runs", 300, "seeded runs of TestCrash")
var crashSeed = flag.Uint64("crash-seed", 0, "the one run of TestCrash to repeat")

// memLog is a log in memory: its records, and how many are written for sure.
type memLog struct {
	mu        sync.Mutex
	records   []memRecord
	committed int
}

type memRecord struct {
	kind journal.Kind
	data []byte
}

func (l *memLog) Append(kind journal.Kind, head, body []byte) journal.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, memRecord{kind, slices.Concat(head, body)})
	return journal.Position{Offset: int64(len(l.records) - 1)}
}

func (l *memLog) Commit(at journal.Position, _ bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed = max(l.committed, int(at.Offset)+1)
	return nil
}

func (l *memLog) End() journal.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return journal.Position{Offset: int64(len(l.records))}
}

func (l *memLog) Err() error { return nil }

// memSegments keeps segments in a file system.
type memSegments struct{ fs vfs.FS }

func (m memSegments) Open(id uint32) (*segment.Store, []segment.Block, []segment.Damage, error) {
	return segment.Open(segment.Options{FS: m.fs, Dir: filepath.Join("segments", strconv.Itoa(int(id))), FileSize: 8 << 10})
}

func (m memSegments) Remove(uint32) error { return nil }

// crashNode is one node that crashes and comes back, and what must be true of it.
type crashNode struct {
	t        *testing.T
	rng      *rand.Rand
	log      *memLog
	fs       *vfs.Mem
	r        *Registry
	saved    []byte // the last checkpoint
	from     int    // the log record it is as of
	subs     []*crashSub
	next     int                 // number of the next message
	accepted map[string]*promise // by topic/channel/body
	trace    []string
}

type crashSub struct {
	*Subscription
	name string // topic/channel
	held []heldMessage
}

type heldMessage struct {
	id       msgID
	body     string
	attempts uint16
}

// promise is what is known of one message on one channel.
type promise struct {
	published  time.Time // not before that, the delay of its publish counted
	due        time.Time // not before
	deferred   said      // due
	gone       said      // it is finished, or was emptied
	open       bool      // after a crash it is not known whether it is gone
	deliveries []said
}

// said is which log records say something: those from lo on, before hi.
type said struct{ lo, hi int }

func (s said) yes() bool { return s.hi > 0 }

// lost reports whether a crash that kept cut records has lost all of it, and whether it has kept all.
func (s said) lost(cut int) bool { return s.lo >= cut }
func (s said) kept(cut int) bool { return s.hi <= cut }

// records returns how many records the log has.
func (l *memLog) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

func (n *crashNode) config() Config {
	return Config{NodeID: 1, MemQueueSize: 12, MaxMsgTimeout: time.Hour, MaxReqTimeout: time.Hour, Journal: n.log,
		Segments: memSegments{n.fs}, Level: func(string) Level { return Disk }}
}

func (n *crashNode) start() {
	n.r = NewRegistry(n.config())
	state := journal.NewState()
	if n.saved != nil {
		var err error
		if state, err = journal.ReadCheckpoint(n.saved); err != nil {
			n.t.Fatal(err)
		}
	}
	v := NewRecovery(state)
	for i := n.from; i < len(n.log.records); i++ {
		rec := n.log.records[i]
		if err := v.Apply(journal.Position{Offset: int64(i)}, rec.kind, rec.data); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := n.r.Recover(v); err != nil {
		n.t.Fatal(err)
	}
	n.r.Start()
	n.check()
}

func (n *crashNode) check() {
	n.t.Helper()
	for _, t := range n.r.Topics() {
		for _, c := range append([]*Channel{t.own}, t.Channels()...) {
			c.mu.Lock()
			err := c.checkLocked()
			c.mu.Unlock()
			if err != nil {
				n.t.Fatal(t.name, err)
			}
		}
	}
}

func (n *crashNode) note(format string, args ...any) {
	n.trace = append(n.trace, fmt.Sprintf(format, args...))
}

func (n *crashNode) topic() *Topic {
	t, err := n.r.Topic("t" + strconv.Itoa(n.rng.IntN(2)))
	if err != nil {
		n.t.Fatal(err)
	}
	return t
}

// publish publishes a few messages, some deferred, and promises them to whoever gets them.
func (n *crashNode) publish() {
	t := n.topic()
	var b Batch
	var bodies []string
	for range 1 + n.rng.IntN(6) {
		body := fmt.Sprintf("%s-%d-%s", t.name, n.next, string(make([]byte, n.rng.IntN(300))))
		n.next++
		bodies = append(bodies, body)
		b.Add([]byte(body))
	}
	var delay time.Duration
	if n.rng.IntN(4) == 0 {
		delay = time.Duration(1+n.rng.IntN(60)) * time.Second
	}
	targets := []string{""}
	if !t.Paused() && len(t.Channels()) > 0 {
		targets = targets[:0]
		for _, c := range t.Channels() {
			targets = append(targets, c.name)
		}
	}
	n.note("publish %s %d after %v to %q", t.name, len(bodies), delay, targets)
	if err := t.PublishDeferred(&b, delay); err != nil {
		n.t.Fatal(err)
	}
	for _, c := range targets {
		for _, body := range bodies {
			n.accepted[t.name+"/"+c+"/"+body] = &promise{published: time.Now().Add(delay), due: time.Now().Add(delay)}
		}
	}
	n.inherit(t)
}

// inherit moves promises of a topic's own backlog to its channels, as the topic does when nothing blocks it.
func (n *crashNode) inherit(t *Topic) {
	if t.Paused() || len(t.Channels()) == 0 {
		return
	}
	prefix := t.name + "//"
	for key, p := range n.accepted {
		if len(key) > len(prefix) && key[:len(prefix)] == prefix {
			for _, c := range t.Channels() {
				q := *p
				n.accepted[t.name+"/"+c.name+"/"+key[len(prefix):]] = &q
			}
			delete(n.accepted, key)
		}
	}
}

func (n *crashNode) subscribe() {
	t := n.topic()
	if len(n.subs) >= 4 {
		return
	}
	channel := "c" + strconv.Itoa(n.rng.IntN(2))
	s, err := t.Subscribe(channel, SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Duration(10+n.rng.IntN(50)) * time.Second})
	if err != nil {
		n.t.Fatal(err)
	}
	n.note("subscribe %s/%s", t.name, channel)
	s.SetReady(1 + n.rng.IntN(10))
	n.subs = append(n.subs, &crashSub{Subscription: s, name: t.name + "/" + channel})
	n.inherit(t)
}

type nobody struct{}

func (nobody) Close() {}

// take takes what there is and checks that it may be.
func (n *crashNode) take(s *crashSub) {
	var d Delivery
	for lo := n.log.len(); s.Take(&d) > 0; lo = n.log.len() {
		at := said{lo, n.log.len()}
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := protocol.FirstMessage(frames)
				frames = frames[len(f):]
				attempts := f.Attempts()
				if run.Attempts > 0 {
					attempts = run.Attempts
				}
				n.got(s, f, attempts, at)
			}
		}
		d.Clear()
	}
}

func (n *crashNode) got(s *crashSub, f protocol.MessageFrame, attempts uint16, at said) {
	body := string(f.Body())
	p := n.accepted[s.name+"/"+body]
	switch {
	case p == nil:
		n.fail("%s got %.20q, which nobody published to it", s.name, body)
	case p.gone.yes():
		n.fail("%s got %.20q again, which was finished or emptied at record %d", s.name, body, p.gone.lo)
	case time.Now().Before(p.due):
		n.fail("%s got %.20q %v early", s.name, body, time.Until(p.due))
	case int(attempts) <= len(p.deliveries):
		n.fail("%s got %.20q as attempt %d, after %d deliveries", s.name, body, attempts, len(p.deliveries))
	}
	p.open = false
	p.deliveries = append(p.deliveries, at)
	n.note("%s got %.20q attempt %d", s.name, body, attempts)
	s.held = append(s.held, heldMessage{f.MustID(), body, attempts})
}

// answer finishes or requeues some of what a consumer holds.
func (n *crashNode) answer(s *crashSub) {
	var answers []Answer
	var about []heldMessage
	keep := s.held[:0]
	for _, m := range s.held {
		a := Answer{ID: m.id}
		switch n.rng.IntN(4) {
		case 0, 1:
			a.Verb = Finish
		case 2:
			a.Verb, a.Delay = Requeue, time.Duration(n.rng.IntN(3))*20*time.Second
		default:
			keep = append(keep, m)
			continue
		}
		answers, about = append(answers, a), append(about, m)
	}
	s.held = keep
	lo := n.log.len()
	s.Apply(answers)
	at := said{lo, n.log.len()}
	for i, a := range answers {
		p := n.accepted[s.name+"/"+about[i].body]
		if a.Err != nil || p == nil {
			continue // it had timed out, or was emptied
		}
		if a.Verb == Finish {
			p.gone = at
			n.note("%s finished %.20q", s.name, about[i].body)
		} else {
			n.note("%s requeued %.20q by %v", s.name, about[i].body, a.Delay)
			p.due, p.deferred = time.Now().Add(a.Delay), at
		}
	}
}

// step does one random thing.
func (n *crashNode) step() {
	switch k := n.rng.IntN(40); {
	case k < 14:
		n.publish()
	case k < 18:
		n.subscribe()
	case k < 26 && len(n.subs) > 0:
		n.take(n.subs[n.rng.IntN(len(n.subs))])
	case k < 32 && len(n.subs) > 0:
		n.answer(n.subs[n.rng.IntN(len(n.subs))])
	case k == 32 && len(n.subs) > 0:
		i := n.rng.IntN(len(n.subs))
		n.note("close a consumer of %s", n.subs[i].name)
		if err := n.subs[i].Close(); err != nil {
			n.t.Fatal(err)
		}
		n.subs = slices.Delete(n.subs, i, i+1)
	case k == 33:
		t := n.topic()
		t.SetPaused(!t.Paused())
		n.note("pause %s %v", t.name, t.Paused())
		n.inherit(t)
	case k == 34:
		n.empty()
	case k == 35 || k == 36:
		n.checkpoint()
	case k == 37:
		n.r.Reclaim()
		n.reclaimed()
	default:
		d := time.Duration(n.rng.IntN(20)) * time.Second
		n.note("advance %v", d)
		time.Sleep(d)
		synctest.Wait()
	}
	n.check()
}

// empty drops all that a channel has.
func (n *crashNode) empty() {
	t := n.topic()
	list := t.Channels()
	if len(list) == 0 || n.rng.IntN(3) > 0 {
		return
	}
	c := list[n.rng.IntN(len(list))]
	n.note("empty %s/%s", t.name, c.name)
	lo := n.log.len()
	if err := c.Empty(); err != nil {
		n.t.Fatal(err)
	}
	prefix := t.name + "/" + c.name + "/"
	for key, p := range n.accepted {
		if len(key) > len(prefix) && key[:len(prefix)] == prefix && !p.gone.yes() {
			p.gone = said{lo, n.log.len()}
		}
	}
}

func (n *crashNode) reclaimed() {
	_ = n.log.Commit(journal.Position{Offset: int64(len(n.log.records)) - 1}, true)
	if err := n.r.Drop(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *crashNode) checkpoint() {
	data, from, err := n.r.Checkpoint()
	if err != nil {
		n.t.Fatal(err)
	}
	n.saved, n.from = data, int(from.Offset)
	n.note("checkpoint as of %d", n.from)
	// What it says of the time behind from must be in the log too.
	n.reclaimed()
}

func (n *crashNode) fail(format string, args ...any) {
	n.t.Helper()
	for _, line := range n.trace[max(0, len(n.trace)-400):] {
		n.t.Log(line)
	}
	n.t.Fatalf(format, args...)
}

// crash ends the node at a random place behind what is committed, and starts it again.
func (n *crashNode) crash() {
	cut := n.log.committed
	if more := len(n.log.records) - cut; more > 0 {
		cut += n.rng.IntN(more + 1)
	}
	n.note("crash at %d of %d", cut, len(n.log.records))
	n.r.stop()
	n.r.sweep.close()
	n.r.wg.Wait()
	n.fs = n.fs.KillClone()
	n.log = &memLog{records: n.log.records[:cut:cut], committed: cut}
	n.subs = nil
	n.forget(cut)
	n.start()
}

// forget takes back what the log does not say.
func (n *crashNode) forget(cut int) {
	for _, p := range n.accepted {
		if p.gone.yes() && !p.gone.kept(cut) {
			p.open = !p.gone.lost(cut)
			p.gone = said{}
		}
		if p.deferred.yes() && !p.deferred.kept(cut) {
			p.due, p.deferred = p.published, said{}
		}
		p.deliveries = slices.DeleteFunc(p.deliveries, func(s said) bool { return !s.kept(cut) })
	}
}

// drainAll delivers everything and finishes it, and then nothing that was promised may be missing.
func (n *crashNode) drainAll() {
	for _, t := range n.r.Topics() {
		t.SetPaused(false)
		if len(t.Channels()) == 0 {
			if _, err := t.Channel("c0"); err != nil {
				n.t.Fatal(err)
			}
		}
		n.inherit(t)
	}
	for _, s := range n.subs {
		if err := s.Close(); err != nil {
			n.t.Fatal(err)
		}
	}
	n.subs = nil
	for _, t := range n.r.Topics() {
		for _, c := range t.Channels() {
			s, err := t.Subscribe(c.name, SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
			if err != nil {
				n.t.Fatal(err)
			}
			s.SetReady(1000)
			n.subs = append(n.subs, &crashSub{Subscription: s, name: t.name + "/" + c.name})
		}
	}
	for range 30 {
		for _, s := range n.subs {
			n.take(s)
			for _, m := range s.held {
				a := []Answer{{ID: m.id, Verb: Finish}}
				s.Apply(a)
				if a[0].Err != nil {
					n.fail("finishing %.20q: %v", m.body, a[0].Err)
				}
				n.accepted[s.name+"/"+m.body].gone = said{0, n.log.len()}
			}
			s.held = nil
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
	}
	missing := 0
	for key, p := range n.accepted {
		if !p.gone.yes() && !p.open {
			missing++
			if missing < 5 {
				n.t.Logf("missing: %.40q", key)
			}
		}
	}
	if missing > 0 {
		n.fail("%d of %d messages are missing", missing, len(n.accepted))
	}
}

func crashRun(t *testing.T, seed uint64) {
	n := &crashNode{t: t, rng: rand.New(rand.NewPCG(seed, 1)), log: &memLog{}, fs: vfs.NewMem(), accepted: map[string]*promise{}}
	n.start()
	defer func() { // the sweeper must end for the bubble to
		if t.Failed() {
			n.r.stop()
			n.r.sweep.close()
		}
	}()
	for range 1 + n.rng.IntN(3) {
		for range n.rng.IntN(120) {
			n.step()
		}
		n.crash()
	}
	n.drainAll()
	n.check()
	if err := n.r.Close(); err != nil && !errors.Is(err, ErrExiting) {
		t.Fatal(err)
	}
}

// TestCrash ends a node at random and starts it from what the log and the segments hold: what was acknowledged and not
// finished comes, what was finished and written does not, nothing is early, nothing is invented.
func TestCrash(t *testing.T) {
	if *crashSeed != 0 {
		synctest.Test(t, func(t *testing.T) { crashRun(t, *crashSeed) })
		return
	}
	for seed := range uint64(*crashRuns) {
		ok := t.Run(fmt.Sprint("seed=", seed+1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { crashRun(t, seed+1) })
		})
		if !ok {
			t.FailNow()
		}
	}
}
