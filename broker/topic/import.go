package topic

import (
	"time"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Imports is a queue of another broker's folder that is being taken over, as the log keeps it. Nothing else is published to
// the topic meanwhile, so that the numbers of its messages tell how far it got: exactly, also after a crash.
type Imports struct {
	Queue  string   `json:"queue"`
	Source string   `json:"source"`         // differs when the queue is another one of the same name
	Next   Position `json:"next"`           // of the topic's next message when it began
	Done   bool     `json:"done,omitempty"` // all of it is in the log, synced: its files may go
}

// Import takes the messages of one queue into a channel, or into a topic. It goes before anything is served. Its methods are
// not safe for concurrent use.
type Import struct {
	topic   *Topic
	channel *Channel // nil: the topic
	skip    uint64   // messages that an earlier life has taken in
	done    bool
	taken   int // messages that this one has

	batch    Batch
	attempts []uint16 // of the batch's messages, when they were delivered before; else empty
}

// importBytes is how many bytes are appended together. Each time the log is synced before it goes on: a power cut may take a record and leave one behind
// it, and then the number of messages that are there would not tell which.
const importBytes = 1 << 20

// Importing returns the queue whose import was cut short, empty when there is none.
func (t *Topic) Importing() string {
	if t.d == nil {
		return ""
	}
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.d.imports == nil {
		return ""
	}
	return t.d.imports.Queue
}

// BeginImport begins to take in a queue, or goes on with one whose import was cut short: then its first messages, in the
// same order as before, are passed over. channel nil means that the topic gets the messages. The topic must be kept in the
// log.
func (t *Topic) BeginImport(queue, source string, channel *Channel) *Import {
	t.pub.Lock()
	defer t.pub.Unlock()
	d := t.d
	m := &Import{topic: t, channel: channel}
	if i := d.imports; i != nil && i.Queue == queue && i.Source == source {
		m.skip, m.done = uint64(d.next-i.Next), i.Done
		d.skip() // as far as a start, or a disk that failed, has changed what it counts by
		return m
	}
	d.imports = &Imports{Queue: queue, Source: source, Next: d.next}
	d.change(journal.Change{Op: journal.OpOptions, Options: d.options()})
	return m
}

// Done reports whether all of the queue is in the log.
func (m *Import) Done() bool { return m.done }

// Taken returns how many messages were taken in, those of an earlier life not counted.
func (m *Import) Taken() int { return m.taken }

// Add takes in a message that was accepted at a time, nanoseconds since the Unix epoch, and delivered attempts times. It keeps
// its id. After an error the import can only be begun again.
func (m *Import) Add(timestamp int64, attempts uint16, id protocol.MessageID, body []byte) error {
	if m.skip > 0 {
		m.skip--
		return nil
	}
	if m.batch.n > 0 && (attempts > 0) != (len(m.attempts) > 0) {
		if err := m.flush(); err != nil { // what was delivered before does not wait, it comes back
			return err
		}
	}
	m.batch.frames = protocol.AppendMessageHeader(m.batch.frames, timestamp, journal.NextAttempt(attempts), id, len(body))
	m.batch.Extend(body)
	m.batch.n++
	if attempts > 0 {
		m.attempts = append(m.attempts, attempts)
	}
	if m.batch.Size() >= importBytes {
		return m.flush()
	}
	return nil
}

// Finish returns once all messages, and that they are all, are synced. The queue's files may go then.
func (m *Import) Finish() error {
	if err := m.flush(); err != nil {
		return err
	}
	m.done = true
	return m.note(func(d *logStore) { d.imports.Done = true })
}

// Forget says that the queue's files are gone.
func (m *Import) Forget() error { return m.note(func(d *logStore) { d.imports = nil }) }

// note changes what the log knows of the import. It is synced first and with it.
func (m *Import) note(change func(*logStore)) error {
	t := m.topic
	t.pub.Lock()
	change(t.d)
	at := t.d.append(journal.Change{Op: journal.OpOptions, Options: t.d.options()})
	t.pub.Unlock()
	return t.syncTo(at)
}

// flush appends what was collected.
func (m *Import) flush() error {
	n := m.batch.n
	if n == 0 {
		return nil
	}
	t := m.topic
	if err := t.registry.writable(); err != nil {
		return err
	}
	if err := t.takeRule(&m.batch); err != nil {
		return err
	}
	t.pub.Lock()
	a := m.appendLocked()
	t.pub.Unlock()
	m.attempts = m.attempts[:0]
	if err := t.d.commit(a.at, true); err != nil {
		t.passOver(n)
		t.withdraw(&a)
		return err
	}
	t.voidsWritten(a.voids)
	m.taken += n
	t.show(&a, false, nil)
	return nil
}

// passOver has the last n positions, whose messages the disk has refused, not count as taken in.
func (t *Topic) passOver(n int) {
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.d.imports != nil {
		t.d.imports.Next += Position(n)
	}
}

func (m *Import) appendLocked() appended {
	t, d, b := m.topic, m.topic.d, &m.batch
	p := journal.Publish{Topic: d.id, First: d.next, Count: b.n}
	targets := m.targetsLocked(&p)
	if len(m.attempts) > 0 {
		p.Due = time.Now().UnixNano() // the log knows attempts of what is deferred only
	}
	a := t.logLocked(b, &p)
	d.noteStamps(p.First, a.extent.Brief())
	if m.channel != nil {
		d.retain.unshare(a.extent.Positions())
	}
	t.active = true
	for _, c := range targets {
		if len(m.attempts) > 0 {
			c.takeBack(a.extent, m.attempts)
		} else {
			c.offerDurable(a.extent, p.Count)
		}
		c.adopted(p.Count)
	}
	b.Reset()
	t.overflowLocked()
	return a
}

// targetsLocked returns who gets the messages, and says so in the record.
func (m *Import) targetsLocked(p *journal.Publish) []*Channel {
	if m.channel != nil {
		p.Only = m.channel.id
		return []*Channel{m.channel}
	}
	if m.topic.blockedLocked() {
		p.Only = journal.Own
	}
	return m.topic.targetsLocked()
}

// takeBack gives the channel messages of the topic's last node that were delivered before.
func (c *Channel) takeBack(at backlog.Extent, attempts []uint16) {
	c.topic.d.tail.pins.Add(int64(len(attempts)))
	c.enter()
	defer c.exit()
	c.machine.TakeIn(at, attempts)
}

// adopted counts messages as those of an earlier life.
func (c *Channel) adopted(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.machine.Adopt(n)
}
