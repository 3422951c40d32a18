package topic

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// errNotLogged is why messages cannot be moved to a topic: it has no part in the log.
var errNotLogged = errors.New("the dead letter topic is at level memory: it must be at level disk or fsync, as one record of the log moves a message")

// errDeadLetters is why a topic's messages become no dead letters: they are some.
var errDeadLetters = errors.New("a dead letter topic's own messages stay where they are")

// buryBytes is how many bytes of bodies one record moves, at most but for one message.
const buryBytes = 1 << 20

// move is messages on their way from one topic to another by one record of the log, which says that they left here and are there.
type move struct {
	from, to *Topic
	batch    Batch
	left     []Position // in from, in the order of the batch
	channel  uint32     // that they leave, or journal.Everywhere
	only     uint32     // channel that gets them; 0: all
	why      journal.Reason
	check    func() error                             // that they can leave still; both pubs are held
	write    func(head, frames []byte) journal.Offset // appends the record, under the locks of the channels that they leave
}

// run moves the messages: with an error none of them has left, and none has arrived.
func (m *move) run() error {
	r := m.from.registry
	if err := cmp.Or(r.need(journal.FeatureProperties), r.need(journal.FeatureMoved)); err != nil {
		return err
	}
	if len(m.batch.sums) > 0 {
		if err := r.need(journal.FeatureKeys); err != nil {
			return err
		}
	}
	first, err := r.ids.take(m.batch.n)
	if err != nil {
		return err
	}
	a, err := m.append(first)
	if err != nil {
		return err
	}
	err = cmp.Or(m.to.d.log.Commit(a.at, m.from.d.levels.synced() || m.to.d.levels.synced()), m.to.d.log.Gap())
	r.SetHealth(err)
	if err != nil {
		m.to.withdraw(&a)
		return err
	}
	m.to.voidsWritten(a.voids)
	m.to.show(&a, false, nil)
	return nil
}

// append puts the record into the log's buffer, and the messages into the other topic, which does not show them yet.
func (m *move) append(first protocol.MessageID) (a appended, err error) {
	lockBoth(m.from, m.to)
	defer m.from.pub.Unlock()
	defer m.to.pub.Unlock()
	switch {
	case m.to.exiting.Load():
		return a, m.to.leaving()
	case m.from.exiting.Load():
		return a, m.from.leaving()
	case m.to.Yields():
		return a, ErrYields
	}
	if err := m.check(); err != nil {
		return a, err
	}
	t, d, b := m.to, m.to.d, &m.batch
	stamp := t.registry.stamp()
	if d.retain.from() > 0 {
		stamp = d.retain.stampLocked(stamp)
	}
	b.stamp(stamp, first)
	d.noteStamp(d.next, stamp)
	p := journal.Publish{Topic: d.id, Only: m.only, First: d.next, Count: b.n}
	targets := t.targetsLocked()
	switch {
	case m.only != journal.All:
		targets = slices.DeleteFunc(slices.Clone(t.Channels()), func(c *Channel) bool { return c.id != m.only })
	case t.blockedLocked():
		p.Only = journal.Own
	}
	if m.why == journal.DeadLettered && !t.deadLetters.Swap(true) {
		d.change(journal.Change{Op: journal.OpOptions, Options: d.options()})
	}
	a = appended{count: b.n, bodies: b.bodies, voids: t.voidLocked()}
	if len(b.beside) > 0 {
		p.Properties = journal.AppendColumn(nil, 0, b.beside)
	}
	p.Sums = b.column()
	a.extent = t.keepLocked(b, p.First)
	a.at = m.write(m.head(&p), a.extent.Frames())
	a.number = d.watermark.add(p.Last(), b.n)
	if m.only != journal.All {
		d.retain.unshare(a.extent.Positions())
	}
	t.active = true
	for _, c := range targets {
		c.offerDurable(a.extent, b.n)
	}
	t.messages.Add(uint64(b.n))
	t.bytes.Add(uint64(b.bodies))
	t.overflowLocked()
	t.thinLocked()
	return a, nil
}

// leaving returns why nothing can be moved to or from a topic that exits: an ErrExiting, which says so where only the topic goes.
func (t *Topic) leaving() error {
	if t.deleted.Load() {
		return deletedError{t.name}
	}
	return ErrExiting
}

// deletedError is ErrExiting of a topic that is being deleted, or made anew at another level, while the broker goes on.
type deletedError struct{ topic string }

func (e deletedError) Error() string {
	return "topic " + e.topic + " is being deleted or moved to another level"
}
func (e deletedError) Unwrap() error { return ErrExiting }

// head is the record of a move but for its messages.
func (m *move) head(p *journal.Publish) []byte {
	var runs journal.Runs
	runs.Begin(0, 0)
	for _, pos := range m.left {
		runs.Add(pos)
	}
	head := journal.AppendMoved(nil, journal.Moved{Topic: m.from.d.id, Channel: m.channel, Why: m.why, Runs: runs.Runs()})
	return journal.AppendPublish(head, *p)
}

// lockBoth locks the pubs of two topics: the lower number first.
func lockBoth(a, b *Topic) {
	if a.d.id > b.d.id {
		a, b = b, a
	}
	a.pub.Lock()
	b.pub.Lock()
}

// enforce has options that have just come into force count for what is there. What an earlier life has left waits for the start, as whoever
// only looks into a folder starts nothing; and what waits in a topic itself was delivered to nobody. Channel.mu is held.
func (c *Channel) enforce() {
	if c.topic.registry.started.Load() && c != c.topic.own {
		c.machine.At.Final = c.topic.deadLetters.Load()
		c.machine.EnforcePolicy()
	}
}

// enforceAll is enforce of all channels, at the start.
func (r *Registry) enforceAll() {
	for _, t := range r.unsorted() {
		for _, c := range t.Channels() {
			c.enterNow()
			if c.machine.Policy() != nil {
				c.enforce()
			}
			c.exit()
		}
	}
}

// burying has a channel's dead letters moved, unless somebody is about to. Before the start the other topic may not be there yet: then the
// sweeper asks again. Channel.mu is held.
func (c *Channel) burying() {
	if r := c.topic.registry; c.topic.d != nil && r.started.Load() {
		c.machine.StartBurial(func() bool { return r.spawn(c.buryDead) })
	}
}

// buryDead moves a channel's dead letters until none is left, or their topic refuses them.
func (c *Channel) buryDead() {
	for c.burySome() {
	}
}

func (c *Channel) burySome() (more bool) {
	c.enterNow()
	stopping := error(nil)
	if c.topic.registry.ctx.Err() != nil {
		stopping = ErrExiting
	}
	b := c.machine.BeginBurial(stopping)
	c.exit()
	if b == nil {
		return false
	}
	err := c.buryThese(b)
	room := 0
	var bound *BoundError
	if errors.As(err, &bound) && bound.Room > 0 { // some of them at once
		room, err = bound.Room, channel.ErrFewer
	}
	c.enterNow()
	before, waiting := b.End(err, room)
	c.exit()
	switch {
	case errors.Is(err, channel.ErrFewer) || errors.Is(err, channel.ErrNothing):
	case err != nil && (before == nil || before.Error() != err.Error()):
		c.topic.registry.log.Warn("messages wait, as their dead letter topic does not take them", "topic", c.topic.name, "channel", c.name,
			"dead letter topic", b.To, "waiting", waiting, "error", err)
	case err == nil && before != nil:
		c.topic.registry.log.Info("the dead letter topic takes messages again", "topic", c.topic.name, "channel", c.name, "dead letter topic",
			b.To, "waiting", waiting)
	}
	return true
}

// buryThese moves messages to their dead letter topic. With an error they have not left.
func (c *Channel) buryThese(b *channel.Burial) error {
	to, err := c.deadLetterTopic(b.To)
	if err != nil {
		return err
	}
	m := move{from: c.topic, to: to, channel: c.id, why: journal.DeadLettered}
	s, why := c.collect(&m, b.List)
	c.enterNow()
	on, large := b.Narrow(&s)
	c.exit()
	for i, d := range s.Lost { // as tellLost: not before
		c.topic.registry.log.Error("a message that was to be a dead letter was lost", "topic", c.topic.name, "channel", c.name, "position", d.Pos,
			"error", why[i])
	}
	if large {
		c.topic.registry.log.Warn("messages wait, as they are larger than max_bytes of their dead letter topic", "topic", c.topic.name,
			"channel", c.name, "dead letter topic", b.To, "max_bytes", to.Policy().MaxBytes)
	}
	switch {
	case len(on) > 0:
	case len(s.Later) > 0:
		return errUnreadable
	default:
		return channel.ErrNothing
	}
	m.check = func() error {
		if err := to.roomLocked(&m.batch); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !b.Stands() {
			return channel.ErrNothing
		}
		return nil
	}
	m.write = func(head, frames []byte) journal.Offset {
		c.enterNow()
		defer c.exit()
		b.Write()
		return c.topic.d.log.Append(journal.KindMoved, head, frames)
	}
	return m.run()
}

// errUnreadable is why messages cannot be moved now.
var errUnreadable = errors.New("the messages cannot be read from disk just now")

// deadLetterTopic returns the topic of that name, and makes it at the level of the channel's own topic when there is none.
func (c *Channel) deadLetterTopic(name string) (*Topic, error) {
	r := c.topic.registry
	if err := r.writable(); err != nil {
		return nil, err
	}
	t := r.Lookup(name)
	if t == nil {
		var err error
		if t, err = r.topicAt(name, max(r.levelOf(name), c.topic.Durability())); err != nil {
			return nil, err
		}
	}
	switch {
	case t.d == nil:
		return nil, fmt.Errorf("%w: %s", errNotLogged, name)
	case t.led != nil:
		return nil, fmt.Errorf("%w: dead letters cannot go to %s", ErrReplicated, name)
	case t == c.topic:
		return nil, errDeadLetters
	}
	return t, nil
}

// collect reads messages into a batch, with what is to be known of them. What does not fit is left for later; why says of each that is lost what is
// wrong.
func (c *Channel) collect(m *move, list []channel.Corpse) (s channel.Sorted, why []error) {
	l, keys := loader{topic: c.topic}, keyReader{topic: c.topic}
	most := m.to.Policy().LargestBody()
	var beside []journal.Beside
	var of *stored
	now := time.Now()
	for i, d := range list {
		if m.batch.bodies >= buryBytes {
			s.Later = append(s.Later, list[i:]...)
			return s, why
		}
		f, err := l.load(inflight.Place{Pos: d.Pos, Off: inflight.NoOffset})
		if n, failed := c.topic.piece(d.Pos); err == nil && n != of {
			if err = failed; err == nil {
				beside, err = c.topic.besideOfNode(n)
			}
			if err == nil {
				of = n
			}
		}
		sum := uint32(0)
		if err == nil {
			sum, err = keys.of(d.Pos)
		}
		switch {
		case err == nil && int64(len(f.Body())) > most:
			s.Large = append(s.Large, d)
		case err == nil:
			if sum != 0 {
				m.batch.setSum(m.batch.n, sum)
			}
			m.batch.beside = append(m.batch.beside, journal.Beside{Pos: Position(m.batch.n), Data: c.obituary(&d, f, findBeside(beside, d.Pos), now)})
			m.batch.Add(f.Body())
			m.left = append(m.left, d.Pos)
			s.On = append(s.On, d)
		case errors.Is(err, errGoneNode) || errors.Is(err, segment.ErrDamaged):
			s.Lost, why = append(s.Lost, d), append(why, err)
		default:
			s.Later = append(s.Later, d)
		}
	}
	return s, why
}

// Names of the properties of a dead letter. Those of the first time begin with firstTime as well.
const (
	letterReason   = "dead_letter.reason"   // why it is one
	letterFailure  = "dead_letter.failure"  // how the last delivery ended
	letterTopic    = "dead_letter.topic"    // that it is from
	letterChannel  = "dead_letter.channel"  // that it is from
	letterID       = "dead_letter.id"       // that it had when it was published
	letterTime     = "dead_letter.time"     // when it was published
	letterAttempts = "dead_letter.attempts" // deliveries before it became one
	letterConsumer = "dead_letter.consumer" // that had it last
	letterMoved    = "dead_letter.moved"    // when it became one
	letterRounds   = "dead_letter.rounds"   // how often it has become one
	firstTime      = "dead_letter.first."   // in place of dead_letter.
)

// maxConsumerName is how many bytes of a consumer's name are kept.
const maxConsumerName = 200

// obituary returns the properties of a dead letter: what is known of it now, what was known before, and of the rounds that it has made the
// first and the last.
func (c *Channel) obituary(d *channel.Corpse, f protocol.MessageFrame, before []byte, now time.Time) []byte {
	had, err := journal.ParseProperties(before)
	if err != nil {
		had = nil
	}
	is := func(p journal.Property) bool { return strings.HasPrefix(p.Name, letterPrefix) }
	list := slices.DeleteFunc(slices.Clone(had), is)
	old := map[string]string{}
	for _, p := range had {
		old[p.Name] = p.Value
	}
	rounds, _ := strconv.Atoi(old[letterRounds])
	consumer := d.Consumer
	if len(consumer) > maxConsumerName {
		consumer = consumer[:maxConsumerName]
	}
	add := func(name, value string) {
		if value != "" {
			list = append(list, journal.Property{Name: name, Value: value})
		}
	}
	add(letterReason, d.Reason())
	add(letterFailure, d.Failure())
	add(letterTopic, c.topic.name)
	add(letterChannel, c.name)
	add(letterID, cmp.Or(old[letterID], f.MustID().String()))
	add(letterTime, cmp.Or(old[letterTime], time.Unix(0, f.Timestamp()).UTC().Format(time.RFC3339Nano)))
	add(letterAttempts, strconv.Itoa(int(d.Attempts)))
	add(letterConsumer, strings.ToValidUTF8(consumer, "?"))
	add(letterMoved, now.UTC().Format(time.RFC3339Nano))
	add(letterRounds, strconv.Itoa(rounds+1))
	for _, name := range [...]string{letterReason, letterFailure, letterAttempts, letterConsumer, letterMoved} {
		first := firstTime + strings.TrimPrefix(name, letterPrefix)
		if rounds == 1 {
			add(first, old[name])
		} else if rounds > 1 {
			add(first, old[first])
		}
	}
	return journal.AppendProperties(nil, list)
}

const letterPrefix = "dead_letter."
