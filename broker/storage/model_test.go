package storage

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
	"brokerd/protocol"
)

// node is a broker's storage that runs, crashes and comes back, and what was promised of its messages. All that happens is
// counted, so that a crash divides it: what had ended before, what had begun, what had not.
type node struct {
	t         *testing.T
	seed      uint64
	rng       *rand.Rand
	fs        *vfs.Mem
	disk      *vfs.Faulty
	k         *Engine
	r         *topic.Registry
	subs      []*consumer
	ids       bound
	free      func(total uint64) uint64     // bytes of the disk that must stay free; nil: none
	sizes     sizes                         // of this life
	reserve   int64                         // bytes that are kept for when the disk is full
	groups    func(wal.Entry) error         // takes what the log has of groups; nil: nobody
	keeps     func(*Engine) error           // has groups go on, before a start is one; nil: there are none
	id        int64                         // of the node, in this life
	levels    [topics]topic.Level           // of topics that are made in this life
	named     map[protocol.MessageID]string // each id that was seen, with the topic and body that it names for good
	older     map[string]string             // what was in each file before this life
	replaced  bool                          // one of them was put back
	stale     bool                          // one that was put back in an earlier life is there, and nothing needed it yet
	removed   []string                      // files that were taken away after this life
	listed    []*journal.Topic              // topics as a list of them has it after this life
	missed    map[uint32]map[string]int     // messages that the last start has missed, as a faulty disk had taken what it would not say
	wrong     atomic.Int64                  // channels whose sum a start had to put right
	damaged   atomic.Int64                  // lines in the log that say that messages were lost to damage
	letters   deadLetters
	ageless   map[string]bool // by topic/channel/body: what ever came back from a dead letter topic has no time to live
	twice     map[string]bool // the same: what was ever read again, or was sent back and a power cut came, so that it may be there twice
	sentBack  map[string]said // the same: what went back in this life
	most      int             // deliveries of a message in this life, 0: any number
	unlimited bool            // any number of deliveries is allowed in all lives
	newest    time.Time       // the latest that any life's clock has said
	clocks    bool            // each life has a clock of its own, which may be behind that of the life before, or far ahead
	spans     []time.Duration // within one of these times they differ
	fills     bool            // a disk that fails may get full, too
	lacks     []vfs.Rule      // what the file system can not do, in all lives
	guarded   bool            // some files were made read only before this life, or an earlier one
	killed    bool            // the life before did not end in a power cut
	broken    broken          // what of a file cannot be read
	memory    int64           // bytes for messages; 0: no bound
	large     int             // most bytes of a large body; 0: there are none
	eager     bool            // consumers take and finish all that there is, so that segments are let go
	next      int             // number of the next message
	trace     []string

	schedules schedules

	events  atomic.Int64
	written atomic.Int64 // what had ended then a kill cannot take back
	synced  atomic.Int64 // nor a power cut
	atOnce  atomic.Bool  // several publishes are being made
	faults  bool         // in this life the file system fails at times
	accept  bool         // what is missing is given up

	manifests [][]byte // of former lives
	forgot    bool     // an older one was put back: it may not name what has been used since
	crash     crash

	messages map[string]*message       // by topic/body
	promises map[string]*promise       // by topic/channel/body
	turns    map[string]*message       // by topic/channel/key of the ordered topic: what is out, in this life
	first    map[string]int            // by topic/channel, of the ordered topic by key: order of the newest first delivery in this life
	early    map[string]topic.Position // by topic: what was kept before that may have gone before its time
}

// said is when something happened: it began and ended with these events. Its zero value never happened.
type said struct{ lo, hi int64 }

func (s said) yes() bool { return s.hi > 0 }

// settled is something that no crash takes back any more.
var settled = said{0, 1}

// message is what was published.
type message struct {
	topic, body string
	num         int
	order       int            // of first deliveries: num, but among publishes that were made at once
	pos         topic.Position // 0: not known, or its topic was deleted
	until       time.Time      // of no use any more from then on; zero: for good
	at          said
	acked       bool
	voided      said // of one that was refused: by a later publish
	voidSynced  said // the same, and that was synced
	fsync       bool
	sure        bool // it must come
	loose       bool // nobody knows which channels have it: a crash left unknown whether the topic has moved it on
	anywhere    bool // of a loose one: it must come on some channel
	perhaps     bool // it was passed over on some channel, perhaps
	outlived    bool // its time to live was over by the clock of a life, and may be by that of a later one: it need not come any more
	cancelled   bool // wherever it was, perhaps: no channel is given it that is made later
}

// promise is what is known of a message on one channel, or of the topic's own backlog, whose name is empty.
type promise struct {
	m          *message
	base       time.Time // not before, as published
	due        time.Time // not before
	delayed    bool      // ever: it need not come in order
	deferred   said      // due
	gone       said      // it is finished, or was dropped with others
	finished   bool      // of gone: by its consumer
	cancelled  said      // of gone, when it was that: a rewind does not bring it again
	rewound    said      // it waits once more
	rewinds    bool      // it ever did
	before     *promise  // of a rewound one: what it was before
	redriven   bool      // it was a dead letter and went back: its deliveries were counted from 1 again
	moved      said      // of a topic's own: its channels have it
	from       *promise  // of a channel: the topic's own that was moved
	strict     bool      // it must come, unless it is gone
	deliveries []said
	back       bool // a dead letter of it went back, which comes behind all that waited then
	uncounted  bool // there may have been more of them, if a crash has taken back that the channel was dropped
}

type consumer struct {
	*topic.Subscription
	topic, name string // name is topic/channel
	held        []held
}

type held struct {
	id   protocol.MessageID
	body string
}

type nobody struct{}

func (nobody) Wake()  {}
func (nobody) Close() {}

// bound keeps ids across crashes, as a file does.
type bound struct {
	n    uint64
	keep func() error // writes the copy
}

func (b *bound) Bound() uint64 { return b.n }
func (b *bound) Reserve(n uint64) error {
	if n > protocol.MaxSequence+1 {
		return errors.New("there are no more ids")
	}
	b.n = n
	if b.keep != nil {
		_ = b.keep() // the file has it
	}
	return nil
}

// wall is the time as it is written down: without the reading of a clock that a life has of its own.
func wall() time.Time { return time.Now().Round(0) }

// after returns from when on a message may come that is deferred for so long: any time when it is not, and clocks are set back.
func (n *node) after(delay time.Duration) time.Time {
	if delay == 0 && n.clocks {
		return time.Time{}
	}
	return wall().Add(delay)
}

func (n *node) begin() int64 { return n.events.Add(1) }

func (n *node) end(lo int64) said { return said{lo, n.events.Add(1)} }

func (n *node) note(format string, args ...any) {
	n.trace = append(n.trace, fmt.Sprintf("%4d ", n.events.Load())+fmt.Sprintf(format, args...))
}

func (n *node) fail(format string, args ...any) {
	n.t.Helper()
	for _, line := range n.trace[max(0, len(n.trace)-*crashTrace):] {
		n.t.Log(line)
	}
	n.t.Fatalf("seed %d: "+format, append([]any{n.seed}, args...)...)
}

// topics is how many there are.
const topics = 3

// reborn draws what a life may have of its own: the node's number, as with another host name, the levels of topics that are made, and
// whether the file with the bound of ids is there.
func (n *node) reborn() {
	n.id = n.rng.Int64N(1024)
	for i := range n.levels {
		n.levels[i] = []topic.Level{topic.Disk, topic.Fsync}[n.rng.IntN(2)]
	}
	if m, found, err := manifest.Read(n.fs, "data"); n.rng.IntN(4) == 0 && err == nil && found && m.IDs >= n.ids.n {
		n.ids.n = 0 // the file with the bound is gone, and the manifest has it as well
	}
	if n.named == nil {
		n.named = map[protocol.MessageID]string{}
	}
	n.note("born as node %d, levels %v, bound of ids %x", n.id, n.levels, n.ids.n)
}

// levelOf is the level of topics that are made in this life.
func (n *node) levelOf(name string) topic.Level { return n.levels[int(name[len(name)-1])%topics] }

func (n *node) randomTopic() *topic.Topic {
	t, err := n.r.Topic("t" + fmt.Sprint(n.rng.IntN(topics)))
	if err != nil {
		n.fail("making a topic: %v", err)
	}
	return t
}

// publication is one publish: what it is to be, and what became of it.
type publication struct {
	topic   *topic.Topic
	batch   topic.Batch
	list    []*message
	delay   time.Duration
	due     time.Time
	level   topic.Level
	targets []string // channels; the empty name: the topic's own backlog
	lo      int64
	at      said
	err     error
}

// prepare draws a publish of a few messages, some deferred.
func (n *node) prepare() *publication {
	p := &publication{topic: n.randomTopic(), level: topic.Disk}
	for range 1 + n.rng.IntN(6) {
		size := n.rng.IntN(300)
		if n.large > 0 && n.rng.IntN(6) == 0 {
			size = n.rng.IntN(n.large)
		}
		body := fmt.Sprintf("%s-%d-%s", p.topic.Name(), n.next, strings.Repeat("x", size))
		p.list = append(p.list, &message{topic: p.topic.Name(), body: body, num: n.next, order: n.next})
		mark := p.batch.Mark()
		p.batch.Add([]byte(body))
		p.batch.Order(mark, keyOf(n.next))
		n.next++
	}
	if n.rng.IntN(4) == 0 {
		p.delay = time.Duration(1+n.rng.IntN(60)) * time.Second
	}
	if n.rng.IntN(8) == 0 {
		p.level = topic.Fsync
	}
	for _, c := range p.topic.Channels() {
		p.targets = append(p.targets, c.Name())
	}
	if p.topic.Paused() || len(p.targets) == 0 {
		p.targets = []string{""}
	}
	p.due = n.after(p.delay)
	if ttl := n.mortal(&p.batch); ttl > 0 {
		for _, m := range p.list {
			m.until = wall().Add(p.delay + ttl)
		}
	}
	return p
}

// do does it. It may be called beside others.
func (p *publication) do(n *node) {
	p.lo = n.begin()
	p.err = p.topic.PublishAs(&p.batch, p.delay, p.level)
	p.at = n.end(p.lo)
}

// publish publishes a few messages, at times several publishes at once, and promises them to whoever gets them.
func (n *node) publish() {
	count := 1
	if n.rng.IntN(6) == 0 {
		count = 2 + n.rng.IntN(3)
	}
	var list []*publication
	for range count {
		list = append(list, n.prepare())
	}
	n.atOnce.Store(count > 1)
	var wg sync.WaitGroup
	for _, p := range list[1:] {
		wg.Go(func() { p.do(n) })
	}
	list[0].do(n)
	wg.Wait()
	n.atOnce.Store(false)
	setOrder(list)
	for _, p := range list {
		n.published(p)
		if p.err != nil && count == 1 && n.r.Health() == nil { // else one that came later may have gone well
			n.fail("a publish failed, and the node is healthy: %v", p.err)
		}
	}
}

// setOrder says in which order the messages of publishes come first that were made at once: in that of their positions.
func setOrder(list []*publication) {
	next := list[0].list[0].num
	slices.SortStableFunc(list, func(a, b *publication) int {
		return cmp.Compare(a.batch.Receipt().Position, b.batch.Receipt().Position)
	})
	for _, p := range list {
		for _, m := range p.list {
			m.order = next
			next++
		}
	}
}

// published notes what became of a publish.
func (n *node) published(p *publication) {
	n.receive(p.batch.Receipt(), p.list)
	n.positions(p.batch.Receipt(), p.list, p.err)
	fsync := p.level == topic.Fsync || p.topic.Durability() == topic.Fsync
	n.note("publish %s %d to %d, %d bytes, after %v to %q: %v, from %d on", p.topic.Name(), p.list[0].num, p.list[len(p.list)-1].num, p.batch.Bytes(),
		p.delay, p.targets, p.err, p.lo)
	if p.err != nil && !n.faults && !n.crash.done() {
		n.fail("publishing: %v", p.err)
	}
	if p.err == nil {
		n.safe(p.lo, fsync)
		n.refusedForGood(p, fsync)
	}
	for _, m := range p.list {
		m.at, m.acked, m.fsync, m.sure = p.at, p.err == nil, fsync, p.err == nil
		n.messages[m.topic+"/"+m.body] = m
		for _, c := range p.targets {
			n.promises[m.topic+"/"+c+"/"+m.body] = &promise{m: m, base: p.due, due: p.due, delayed: p.delay > 0, strict: p.err == nil}
		}
	}
}

// refusedForGood says that what was refused of a topic in this life comes back with no start, once a later publish was answered.
func (n *node) refusedForGood(p *publication, fsync bool) {
	for _, m := range n.messages {
		if m.topic != p.topic.Name() || m.acked || m.at == settled || m.at.hi >= p.lo {
			continue
		}
		if !m.voided.yes() {
			m.voided = p.at
		}
		if fsync && !m.voidSynced.yes() {
			m.voidSynced = p.at
		}
	}
}

// safe says that the log has, written or synced, what was done before.
func (n *node) safe(before int64, synced bool) {
	if n.faults { // the log may have lost some of it
		return
	}
	n.written.Store(max(n.written.Load(), before-1))
	if synced {
		n.synced.Store(max(n.synced.Load(), before-1))
	}
}

// moves gives a topic's channels what it kept, as the topic does when nothing blocks that any more, by something that began at
// lo.
func (n *node) moves(t *topic.Topic, lo int64) {
	if t.Paused() || len(t.Channels()) == 0 {
		return
	}
	at := n.end(lo)
	for _, own := range n.of(t.Name(), "") {
		if own.moved.yes() || own.gone.yes() {
			continue
		}
		for _, c := range t.Channels() {
			key := t.Name() + "/" + c.Name() + "/" + own.m.body
			if own.m.loose {
				continue // it may have been moved in an earlier life
			}
			if old := n.promises[key]; old != nil && old.rewinds { // a crash has left unknown which of the two counts
				old.strict, old.due, old.base = false, time.Time{}, time.Time{}
				continue
			}
			p := *own
			p.from = own
			n.promises[key] = &p
		}
		own.moved = at
	}
}

// of returns the promises of a topic's channel.
func (n *node) of(topic, channel string) (list []*promise) {
	prefix := topic + "/" + channel + "/"
	for key, p := range n.promises {
		if strings.HasPrefix(key, prefix) {
			list = append(list, p)
		}
	}
	return list
}

func (n *node) subscribe() {
	if len(n.subs) >= 4 {
		return
	}
	t := n.randomTopic()
	channel := "c" + fmt.Sprint(n.rng.IntN(2))
	lo := n.begin()
	s, err := t.Subscribe(channel, topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Duration(10+n.rng.IntN(50)) * time.Second})
	if err != nil {
		n.fail("subscribing: %v", err)
	}
	n.note("subscribe %s/%s", t.Name(), channel)
	if n.eager {
		s.SetReady(1000)
	} else {
		s.SetReady(1 + n.rng.IntN(10))
	}
	n.subs = append(n.subs, &consumer{Subscription: s, topic: t.Name(), name: t.Name() + "/" + channel})
	n.moves(t, lo)
}

// take takes what there is and checks that it may be.
func (n *node) take(s *consumer) (count int) {
	var d topic.Delivery
	for {
		lo := n.begin()
		some := s.Take(&d)
		if some == 0 {
			return count
		}
		count += some
		at := n.end(lo)
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := protocol.FirstMessage(frames)
				frames = frames[len(f):]
				attempts := f.Attempts()
				if run.Attempts > 0 {
					attempts = run.Attempts
				}
				n.got(s, f, int(attempts), at)
			}
		}
		d.Clear()
	}
}

func (n *node) got(s *consumer, f protocol.MessageFrame, attempts int, at said) {
	body := string(f.Body())
	key := s.name + "/" + body
	p, m := n.promises[key], n.messages[s.topic+"/"+body]
	if p == nil && m != nil && m.loose {
		p = &promise{m: m, delayed: true, deliveries: make([]said, attempts-1), rewinds: n.twice[key], redriven: n.twice[key]}
		n.promises[key] = p // of a channel that was dropped, and is there again
	}
	n.note("%s got %.12q attempt %d id %x", s.name, body, attempts, uint64(f.MustID()))
	what := s.topic + "/" + body
	if named, seen := n.named[f.MustID()]; seen && named != what {
		n.fail("%s got %.12q under the id %v, which was that of %.12q", s.name, body, f.MustID(), named)
	}
	n.named[f.MustID()] = what
	order := ""
	if m != nil {
		order = s.orderOf(m)
	}
	switch {
	case m == nil || p == nil:
		n.fail("%s got %.12q, which nobody published to it", s.name, body)
	case n.most > 0 && attempts > n.most:
		n.fail("%s got %.12q as attempt %d, of at most %d", s.name, body, attempts, n.most)
	case n.dead()[key] > 0 && !p.rewinds && !(p.redriven && n.twice[key]): // of two dead letters of what was read again one went back
		n.fail("%s got %.12q, which is a dead letter", s.name, body)
	case m.over() && !p.redriven && !n.ageless[key]:
		n.fail("%s got %.12q %v after its time", s.name, body, wall().Sub(m.until))
	case p.gone.yes() && !(n.twice[key] && n.ageless[key]): // else both may come, the message and what was its dead letter
		n.fail("%s got %.12q again, which was finished or dropped at %d", s.name, body, p.gone.lo)
	case wall().Before(p.due) && !(p.back && n.twice[key]): // else another copy of it was put off
		n.fail("%s got %.12q %v early", s.name, body, p.due.Sub(wall()))
	case attempts <= certain(p.deliveries) && !p.redriven:
		n.fail("%s got %.12q as attempt %d, after %d deliveries", s.name, body, attempts, certain(p.deliveries))
	case attempts > len(p.deliveries)+1 && !p.uncounted:
		n.fail("%s got %.12q as attempt %d, after no more than %d deliveries", s.name, body, attempts, len(p.deliveries))
	case attempts == 1 && !p.delayed && !p.back && order != "" && m.order < n.first[order]:
		n.fail("%s got %.12q for the first time behind %d", s.name, body, n.first[order])
	}
	n.checkTurn(s, p)
	if attempts == 1 && !p.delayed && !p.back {
		n.first[order] = m.order
	}
	p.strict, m.sure, m.anywhere = !m.outlived, !m.outlived, false
	if n.clocks { // it was due, and may not be by the next clock
		p.due, p.base = time.Time{}, time.Time{}
	}
	p.deliveries = append(p.deliveries, at)
	s.held = append(s.held, held{f.MustID(), body})
}

// certain counts deliveries that no crash has made doubtful.
func certain(list []said) (n int) {
	for _, s := range list {
		if s.yes() {
			n++
		}
	}
	return n
}

// answer finishes or requeues some of what a consumer holds.
func (n *node) answer(s *consumer, all bool) {
	var answers []topic.Answer
	var about []held
	keep := s.held[:0]
	for _, m := range s.held {
		a := topic.Answer{ID: m.id}
		switch k := n.rng.IntN(4); {
		case all || k < 2:
			a.Verb = topic.Finish
		case k == 2:
			a.Verb, a.Delay = topic.Requeue, time.Duration(n.rng.IntN(3))*20*time.Second
		default:
			keep = append(keep, m)
			continue
		}
		answers, about = append(answers, a), append(about, m)
	}
	s.held = keep
	lo := n.begin()
	s.Apply(answers, nil)
	at := n.end(lo)
	for i, a := range answers {
		p := n.promises[s.name+"/"+about[i].body]
		if a.Err != nil || p == nil {
			continue // it had timed out, or was dropped
		}
		n.note("%s answered %d %v to %.12q", s.name, a.Verb, a.Delay, about[i].body)
		if a.Verb == topic.Finish {
			p.gone, p.finished = at, true
		} else {
			p.due, p.deferred, p.delayed = n.after(a.Delay), at, true
			if n.most > 0 && len(p.deliveries) >= n.most { // it was its last delivery
				p.due = p.base
			}
		}
	}
}

// drop is a command that drops all that one channel, or a whole topic, has.
func (n *node) drop(topic, channel string, do func() error) {
	n.note("drop %s/%s", topic, channel)
	lo := n.begin()
	err := do()
	at := n.end(lo)
	if err != nil && !n.faults && !n.crash.done() {
		n.fail("dropping %s/%s: %v", topic, channel, err)
	}
	prefix := topic + "/" + channel + "/"
	if channel == "" {
		prefix = topic + "/"
	}
	n.dropped(prefix, at, channel != "")
	for key, p := range n.promises {
		if strings.HasPrefix(key, prefix) && p.cancelled.yes() { // a channel that is made anew knows nothing of it, unless a crash takes the end of the old one back
			p.cancelled, p.m.cancelled = said{}, true
		}
	}
	n.subs = slices.DeleteFunc(n.subs, func(s *consumer) bool {
		gone := strings.HasPrefix(s.name+"/", prefix)
		if gone {
			_ = s.Close()
		}
		return gone
	})
	for c := range n.first {
		if c == topic+"/"+channel || strings.HasPrefix(c, topic+"/"+channel+"/") {
			delete(n.first, c)
		}
	}
}

// dropped says that all is gone that one channel, or a whole topic, had.
func (n *node) dropped(prefix string, at said, channel bool) {
	for _, m := range n.messages {
		if m.loose && strings.HasPrefix(prefix, m.topic+"/") {
			m.anywhere = false
		}
	}
	for key, p := range n.promises {
		switch {
		case !strings.HasPrefix(key, prefix) || p.gone.yes():
		case channel && (p.m.loose || n.mayWait(p.m)):
			delete(n.promises, key) // the topic itself may still have it
		default:
			p.gone = at
		}
	}
}

// mayWait reports whether a message may wait in the topic's own backlog, for all channels.
func (n *node) mayWait(m *message) bool {
	own := n.promises[m.topic+"//"+m.body]
	return own != nil && !own.moved.yes() && !own.gone.yes()
}

// dropSome empties or deletes something, not often.
func (n *node) dropSome() {
	t := n.randomTopic()
	list := t.Channels()
	if len(list) == 0 {
		return
	}
	c := list[n.rng.IntN(len(list))]
	switch n.rng.IntN(12) {
	case 0, 1:
		lo := n.begin()
		err := c.Empty()
		at := n.end(lo)
		n.note("empty %s/%s: %v", t.Name(), c.Name(), err)
		n.dropped(t.Name()+"/"+c.Name()+"/", at, true)
	case 2:
		n.drop(t.Name(), c.Name(), func() error { return t.DeleteChannel(c.Name()) })
	case 4, 5:
		n.dropLetters("d" + t.Name()[1:])
	case 3:
		n.drop(t.Name(), "", func() error { return n.r.DeleteTopic(t.Name()) })
		n.forgetPositions(t.Name())
		for c := range n.first {
			if strings.HasPrefix(c, t.Name()+"/") {
				delete(n.first, c)
			}
		}
	}
}

// step does one random thing.
func (n *node) step() {
	if *crashHard {
		switch n.rng.IntN(16) {
		case 0, 1, 2:
			n.rewind()
		case 3:
			n.retention()
		case 4:
			n.setFaults()
		}
	}
	switch k := n.rng.IntN(58); {
	case k < 14:
		n.publish()
	case k < 18:
		n.subscribe()
	case k < 26 && len(n.subs) > 0:
		n.take(n.subs[n.rng.IntN(len(n.subs))])
	case k < 32 && len(n.subs) > 0:
		n.answer(n.subs[n.rng.IntN(len(n.subs))], n.eager)
	case k == 32 && len(n.subs) > 0:
		i := n.rng.IntN(len(n.subs))
		n.note("close a consumer of %s", n.subs[i].name)
		_ = n.subs[i].Close()
		n.subs = slices.Delete(n.subs, i, i+1)
	case k == 33 && n.rng.IntN(3) == 0:
		t := n.randomTopic()
		if list := t.Channels(); len(list) > 0 {
			c := list[n.rng.IntN(len(list))]
			c.SetPaused(!c.Paused())
			n.note("pause %s/%s %v", t.Name(), c.Name(), c.Paused())
		}
	case k == 33:
		t := n.randomTopic()
		lo := n.begin()
		t.SetPaused(!t.Paused())
		n.note("pause %s %v", t.Name(), t.Paused())
		n.moves(t, lo)
	case k < 37:
		n.dropSome()
	case k == 37:
		n.advance(time.Duration(n.rng.IntN(20)) * time.Second)
	case k < 42:
		n.peek()
		n.advance(time.Duration(n.rng.IntN(300)) * time.Millisecond)
	case k < 44:
		n.redrive()
	case k < 48:
		n.reschedule()
	case k < 50:
		n.retention()
	case k < 52:
		n.checkKept()
	case k < 56:
		n.rewind()
	case n.faults:
		n.setFaults()
	}
}

// advance lets time pass: what was done before is written after 100 ms, and synced after the timeout of the log.
func (n *node) advance(d time.Duration) {
	n.note("advance %v", d)
	before := n.begin()
	time.Sleep(d)
	synctest.Wait()
	if n.crash.done() {
		return // these writes went to a disk that nobody sees again
	}
	if d >= 100*time.Millisecond {
		n.safe(before, d >= 3*time.Second)
	}
}
