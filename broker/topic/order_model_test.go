package topic

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

var (
	orderRuns  = flag.Int("order-runs", 60, "how often the model of order by key runs")
	orderTrace = flag.Int("order-trace", 60, "lines of the trace that are shown when it fails")
	orderSeed  = flag.Uint64("order-seed", 0, "seed of its first run; 0: any")
)

// orderModel is an ordered topic in a log, with a channel, whose consumers do what consumers do, and what each key must be like.
type orderModel struct {
	t     *testing.T
	rng   *rand.Rand
	seed  uint64
	log   *keptLog
	ids   keptBound
	r     *Registry
	topic *Topic
	subs  []*orderConsumer
	next  int
	keys  int

	messages map[int]*orderMessage
	out      map[string]int // by key: the message that has been delivered and has not left
	newest   map[string]int // by key: that was delivered for the first time last, of those without a delay
	trace    []string
	ordered  bool
	limit    int // of deliveries, 0: none
}

// keptBound is the bound of ids, over lives.
type keptBound struct{ n atomic.Uint64 }

func (b *keptBound) Bound() uint64 { return b.n.Load() }

func (b *keptBound) Reserve(n uint64) error {
	b.n.Store(n)
	return nil
}

type orderMessage struct {
	n        int
	key      string
	delayed  bool
	finished bool
	loose    bool // it was in flight when the order was switched on
	attempts int
	due      time.Time
	until    time.Time // zero: for good
}

// left reports whether a message may have left the channel.
func (m *orderModel) left(msg *orderMessage) bool {
	return msg.finished || !msg.until.IsZero() && !time.Now().Before(msg.until) || m.limit > 0 && msg.attempts >= m.limit
}

type orderConsumer struct {
	*Subscription
	held map[int]protocol.MessageID
}

func (m *orderModel) note(format string, args ...any) {
	m.trace = append(m.trace, time.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

func (m *orderModel) fail(format string, args ...any) {
	m.t.Helper()
	for _, line := range m.trace[max(0, len(m.trace)-*orderTrace):] {
		m.t.Log(line)
	}
	m.t.Fatalf("seed %d: "+format, append([]any{m.seed}, args...)...)
}

func (m *orderModel) begin(records []keptRecord) {
	cfg := config()
	m.log = &keptLog{records: records}
	cfg.IDs = &m.ids
	cfg.MemQueueSize = 1 + m.rng.IntN(20)
	cfg.Journal, cfg.Segments, cfg.Level = m.log, keptSegments{vfs.NewMem()}, func(string) Level { return Disk }
	v := NewRecovery(journal.NewState())
	for i, r := range records {
		if err := v.Apply(journal.Offset{Offset: int64(i)}, r.kind, r.data); err != nil {
			m.t.Fatal(err)
		}
	}
	m.r = NewRegistry(cfg)
	if err := m.r.Recover(v); err != nil {
		m.t.Fatal(err)
	}
	m.r.Start()
	m.topic = mustTopic(m.t, m.r, "t")
	mustChannel(m.t, m.topic, "c")
}

// crash has the broker begin again with what the log has.
func (m *orderModel) crash() {
	m.note("crash")
	m.log.mu.Lock()
	records := append([]keptRecord(nil), m.log.records...)
	m.log.mu.Unlock()
	m.end()
	m.begin(records)
	started := map[string]int{}
	for _, msg := range m.messages {
		if msg.attempts > 0 && !msg.finished {
			started[msg.key]++
		}
	}
	for key, n := range started { // since the order was off: the log does not say which of them had its turn
		if n > 1 {
			delete(m.out, key)
		}
	}
}

func (m *orderModel) end() {
	checkBooks(m.t, m.r)
	for _, s := range m.subs {
		_ = s.Close()
	}
	m.subs = nil
	if err := m.r.Close(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *orderModel) publish() {
	var b Batch
	delay := time.Duration(0)
	if m.rng.IntN(6) == 0 {
		delay = time.Duration(1+m.rng.IntN(30)) * time.Second
	}
	if m.rng.IntN(8) == 0 {
		b.TTL = time.Duration(1+m.rng.IntN(40)) * time.Second
	}
	for range 1 + m.rng.IntN(12) {
		m.next++
		msg := &orderMessage{n: m.next, delayed: delay > 0, due: time.Now().Add(delay)}
		if b.TTL > 0 {
			msg.until = msg.due.Add(b.TTL)
		}
		if m.rng.IntN(5) > 0 {
			msg.key = fmt.Sprintf("k%d", m.rng.IntN(m.keys))
		}
		mark := b.Mark()
		b.Add(fmt.Appendf(nil, "%d %s%s", m.next, msg.key, strings.Repeat(" ", m.rng.IntN(400))))
		b.Order(mark, msg.key)
		m.messages[m.next] = msg
	}
	m.note("publish %d to %d, delay %v", m.next-b.Len()+1, m.next, delay)
	if err := m.topic.PublishDeferred(&b, delay); err != nil {
		m.fail("publishing: %v", err)
	}
}

func (m *orderModel) take(s *orderConsumer) {
	var d Delivery
	if s.Take(&d) == 0 {
		return
	}
	for _, run := range d.Runs {
		for rest := run.Frames; len(rest) > 0; {
			f := protocol.FirstMessage(rest)
			rest = rest[len(f):]
			attempts := int(f.Attempts())
			if run.Attempts > 0 {
				attempts = int(run.Attempts)
			}
			m.got(s, f, attempts)
		}
	}
}

func (m *orderModel) got(s *orderConsumer, f protocol.MessageFrame, attempts int) {
	var n int
	if _, err := fmt.Sscan(string(f.Body()), &n); err != nil {
		m.fail("body %q", f.Body())
	}
	msg := m.messages[n]
	m.note("consumer %d got %d of %q, attempt %d", slices.Index(m.subs, s), n, msg.key, attempts)
	switch {
	case msg.finished:
		m.fail("message %d comes although it is finished", n)
	case attempts != msg.attempts+1:
		m.fail("message %d comes as attempt %d, after %d", n, attempts, msg.attempts)
	case m.limit > 0 && attempts > m.limit, !msg.until.IsZero() && time.Since(msg.until) > time.Millisecond:
		m.fail("message %d comes although it has left: %+v", n, msg)
	case time.Now().Before(msg.due):
		m.fail("message %d comes before it is due", n)
	}
	msg.attempts = attempts
	s.held[n] = f.MustID()
	if msg.key == "" || !m.ordered || msg.loose {
		return
	}
	if out := m.out[msg.key]; out != 0 && out != n && !m.left(m.messages[out]) {
		m.fail("message %d of key %s comes while %d of it is out", n, msg.key, out)
	}
	m.out[msg.key] = n
	if attempts == 1 && !msg.delayed {
		if newest := m.newest[msg.key]; n < newest {
			m.fail("message %d of key %s comes for the first time behind %d", n, msg.key, newest)
		}
		m.newest[msg.key] = n
	}
}

func (m *orderModel) answer(s *orderConsumer, all bool) {
	var answers []Answer
	var about []int
	for _, n := range slices.Sorted(maps.Keys(s.held)) {
		a := Answer{ID: s.held[n]}
		switch k := m.rng.IntN(8); {
		case all || k < 4:
			a.Verb = Finish
		case k == 4:
			a.Verb = Requeue
		case k == 5:
			a.Verb, a.Delay = Requeue, time.Duration(1+m.rng.IntN(20))*time.Second
		case k == 6:
			a.Verb = Touch
		default:
			continue
		}
		answers, about = append(answers, a), append(about, n)
	}
	s.Apply(answers, nil)
	for i, a := range answers {
		if a.Err != nil {
			delete(s.held, about[i]) // it has timed out
			continue
		}
		m.note("consumer %d answers %d to %d, delay %v", slices.Index(m.subs, s), a.Verb, about[i], a.Delay)
		msg := m.messages[about[i]]
		switch a.Verb {
		case Finish:
			msg.finished = true
			if m.out[msg.key] == msg.n {
				delete(m.out, msg.key)
			}
		case Requeue:
			msg.due = time.Now().Add(a.Delay)
		case Touch:
			continue
		}
		delete(s.held, about[i])
	}
}

func (m *orderModel) step() {
	switch k := m.rng.IntN(40); {
	case k < 8:
		m.publish()
	case k < 10 && len(m.subs) < 5:
		s := mustSubscribe(m.t, m.topic, "c", 1+m.rng.IntN(30), SubscribeOptions{MsgTimeout: time.Duration(5+m.rng.IntN(30)) * time.Second})
		m.subs = append(m.subs, &orderConsumer{s, map[int]protocol.MessageID{}})
	case k < 22 && len(m.subs) > 0:
		m.take(m.subs[m.rng.IntN(len(m.subs))])
	case k < 34 && len(m.subs) > 0:
		m.answer(m.subs[m.rng.IntN(len(m.subs))], false)
	case k == 34 && len(m.subs) > 0:
		i := m.rng.IntN(len(m.subs))
		m.note("a consumer leaves")
		if err := m.subs[i].Close(); err != nil {
			m.fail("closing: %v", err)
		}
		m.subs = append(m.subs[:i], m.subs[i+1:]...)
	case k == 35:
		time.Sleep(time.Duration(m.rng.IntN(40)) * time.Second)
		m.note("time passes")
	case k == 36 && m.rng.IntN(3) == 0:
		m.crash()
	case k == 37 && m.rng.IntN(20) == 0:
		m.note("empty")
		if err := m.topic.Channels()[0].Empty(); err != nil {
			m.fail("emptying: %v", err)
		}
		for _, msg := range m.messages {
			msg.finished = true
		}
		clear(m.out)
		for _, s := range m.subs {
			clear(s.held)
		}
	case k == 38 && m.rng.IntN(4) == 0:
		checkpoint(m.t, m.r)
	case k == 39:
		m.look()
	}
}

// look has everything that only looks do so, and sometimes switches the order off or on.
func (m *orderModel) look() {
	c := m.topic.Channels()[0]
	synctest.Wait()
	s := c.Stats()
	if !s.Balanced {
		m.fail("the sum is broken: %+v", s)
	}
	if m.rng.IntN(4) == 0 {
		waiting := browsed(m.t, c.BrowseWaiting, Look{From: 1, Limit: 10000, Body: 10})
		if due := s.Depth; int64(len(waiting)) > due {
			m.fail("%d messages wait, of %d", len(waiting), due)
		}
	}
	if m.rng.IntN(4) > 0 {
		return
	}
	m.ordered = !m.ordered
	m.note("ordered is %v", m.ordered)
	setTopicOptions(m.t, m.topic, fmt.Sprintf(`{"ordered":%v}`, m.ordered))
	clear(m.out)
	clear(m.newest)
	for _, msg := range m.messages {
		msg.loose = msg.loose || msg.attempts > 0 && m.isHeld(msg.n)
		if msg.attempts > 0 { // others may have been first
			msg.delayed = true
		}
		if msg.key != "" && msg.attempts == 0 {
			msg.delayed = msg.delayed || !m.ordered
		}
	}
}

func (m *orderModel) isHeld(n int) bool {
	return slices.ContainsFunc(m.subs, func(s *orderConsumer) bool { return s.held[n] != protocol.MessageID(0) })
}

// finish takes and finishes all that there is, which must be everything.
func (m *orderModel) finish() {
	s := mustSubscribe(m.t, m.topic, "c", 100, SubscribeOptions{})
	m.subs = append(m.subs, &orderConsumer{s, map[int]protocol.MessageID{}})
	for range 3000 {
		for _, s := range m.subs {
			m.take(s)
			m.answer(s, true)
		}
		if m.topic.Channels()[0].Stats().Held == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	for n, msg := range m.messages {
		if !m.left(msg) {
			m.fail("message %d of key %q never came: %+v", n, msg.key, m.topic.Channels()[0].Stats())
		}
	}
	c := m.topic.Channels()[0]
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.machine.Check(); err != nil { // of turns, too
		m.fail("%v", err)
	}
}

// TestOrderModel: consumers take, finish, requeue, are late, leave and come, the broker begins again, with messages in memory and on disk. Of
// each key one message is out at a time, on the whole channel, and messages are first delivered in their order; each comes until it is
// finished; and nothing is left over.
func TestOrderModel(t *testing.T) {
	first := *orderSeed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	for i := range uint64(*orderRuns) {
		runOrderModel(t, first+i)
	}
}

func runOrderModel(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		m := &orderModel{t: t, rng: rand.New(rand.NewPCG(seed, 1)), seed: seed, messages: map[int]*orderMessage{}, out: map[string]int{},
			newest: map[string]int{}, ordered: true}
		m.keys = 1 + m.rng.IntN(10)
		m.begin(nil)
		setTopicOptions(t, m.topic, fmt.Sprintf(`{"ordered":true,"ordered_ahead":%d}`, 1+m.rng.IntN(100)))
		if m.rng.IntN(4) == 0 {
			m.limit = 1 + m.rng.IntN(4)
			letters := []string{"discard", "dead"}[m.rng.IntN(2)]
			setOptions(t, m.topic.Channels()[0], fmt.Sprintf(`{"max_attempts":%d,"dead_letter":%q}`, m.limit, letters))
		}
		for range 400 {
			m.step()
		}
		m.finish()
		m.end()
	})
}
