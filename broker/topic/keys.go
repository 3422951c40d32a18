package topic

import (
	"errors"
	"fmt"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/broker/inflight"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
	"brokerd/protocol/keyrule"
)

// Keys that order messages: a publish says one, or a rule of the topic takes it out of the body. What is kept of it, its sum, goes with the
// message: in the record of its publish, in its node, and in the block of that.

// ErrKeyRequired is the refusal of a publish that says no key, of a topic that requires one. A later publish may succeed.
var ErrKeyRequired = errors.New("the topic has the option key_required, and the message has no key: it is said with the word key, or taken out of the body as the option key_from says")

// Order gives the messages that were added since a mark a key, which orders them among others of the topic with that key.
func (b *Batch) Order(since Mark, key string) {
	sum := journal.KeySum([]byte(key))
	for i := since.n; sum != 0 && i < b.n; i++ {
		b.setSum(i, sum)
	}
}

// Keyed reports whether a message has a key of either kind that its publish has said.
func (b *Batch) Keyed() bool { return len(b.keys)+len(b.sums) > 0 }

func (b *Batch) setSum(i int, sum uint32) {
	for len(b.sums) <= i {
		b.sums = append(b.sums, 0)
	}
	b.sums[i] = sum
}

// takeSums completes the keys of the messages that were added since a mark by what a rule takes out of bodies, and reports whether each
// has one then.
func (b *Batch) takeSums(since Mark, rule *keyrule.Rule) (all bool) {
	all = true
	i := since.n
	for rest := b.frames[since.frames:]; len(rest) > 0; i++ {
		f := protocol.FirstMessage(rest)
		rest = rest[len(f):]
		if i < len(b.sums) && b.sums[i] != 0 {
			continue
		}
		sum := journal.KeySum(rule.Key(f.Body()))
		if all = all && sum != 0; sum != 0 {
			b.setSum(i, sum)
		}
	}
	return all
}

// TakeKeys looks for the keys of the messages that were added to a batch since a mark, and fails with ErrKeyRequired when the topic requires
// one and some message has none.
func (t *Topic) TakeKeys(b *Batch, since Mark) error {
	p := t.policy.Load()
	if p == nil || p.KeyFrom == nil && !p.KeyRequired || t.d == nil {
		return nil
	}
	if !b.takeSums(since, p.KeyFrom) && p.KeyRequired {
		return ErrKeyRequired
	}
	return nil
}

// RequiresKeys reports whether publishes without a key are refused.
func (t *Topic) RequiresKeys() bool {
	p := t.policy.Load()
	return p != nil && p.KeyRequired && t.d != nil
}

// sumsOf sees to the keys of a publish.
func (d *logStore) sumsOf(b *Batch) error {
	if err := d.topic.TakeKeys(b, Mark{}); err != nil || len(b.sums) == 0 {
		return err
	}
	return d.topic.registry.need(journal.FeatureKeys)
}

// takeRule gives messages that are taken over the keys that the topic's rule finds in them. Those that it requires no publish has said.
func (t *Topic) takeRule(b *Batch) error {
	p := t.policy.Load()
	if p == nil || p.KeyFrom == nil {
		return nil
	}
	b.takeSums(Mark{}, p.KeyFrom)
	if len(b.sums) == 0 {
		return nil
	}
	return t.registry.need(journal.FeatureKeys)
}

// column returns the sums of the keys of all messages of a batch, nil when none has a key.
func (b *Batch) column() []uint32 {
	for len(b.sums) > 0 && len(b.sums) < b.n {
		b.sums = append(b.sums, 0)
	}
	if len(b.sums) == 0 {
		return nil
	}
	return b.sums
}

// sectionKeys is the kind of the sections of a segment's block that have the sums of its messages' keys.
const sectionKeys = 3

// maxSums is how many of them one section has.
const maxSums = 1 << 20

// blockSections returns the sections of a block whose first position is first: what its messages have beside their bodies, and the sums
// of their keys, in order.
func blockSections(first Position, beside []journal.Beside, sums []uint32) []segment.Section {
	list := besideSections(first, beside)
	for len(sums) > 0 && sums[len(sums)-1] == 0 {
		sums = sums[:len(sums)-1]
	}
	for len(sums) > 0 {
		n := min(len(sums), maxSums)
		list = append(list, segment.Section{Kind: sectionKeys, Data: journal.AppendSums(nil, sums[:n])})
		sums = sums[n:]
	}
	return list
}

// readSums returns the sums of the keys of a block's messages, counted from its first position; nil when none has a key.
func (d *logStore) readSums(b segment.Block) (sums []uint32, err error) {
	list, held, err := d.segments.ReadBeside(b)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Kind == sectionKeys {
			if sums, err = journal.ParseSums(sums, s.Data); err != nil {
				return nil, fmt.Errorf("%w: keys of the block of %v: %w", segment.ErrDamaged, b.Ref, err)
			}
		}
	}
	return spread(sums, Position(b.First), int(b.Count), heldRanges(b, held)), nil
}

// spread returns sums of messages whose positions are in ranges as they are counted from a first position.
func spread(sums []uint32, first Position, count int, held []backlog.Range) []uint32 {
	if len(sums) == 0 || len(held) == 1 && held[0].First == first {
		return sums
	}
	all := make([]uint32, count)
	for _, r := range held {
		n := copy(all[r.First-first:r.Last-first+1], sums)
		sums = sums[n:]
	}
	return all
}

// gathered is the way back: the sums of messages whose positions are in ranges, in order.
func gathered(sums []uint32, first Position, held []backlog.Range) (some []uint32) {
	if len(sums) == 0 {
		return nil
	}
	for _, r := range held {
		for pos := r.First; pos <= r.Last; pos++ {
			some = append(some, sumAt(sums, first, pos))
		}
	}
	return some
}

// sumAt returns the sum of the key of one message out of those that are counted from a first position.
func sumAt(sums []uint32, first, pos Position) uint32 {
	if i := pos - first; i < Position(len(sums)) {
		return sums[i]
	}
	return 0
}

// sumsOfNode returns the sums of the keys of a node's messages, counted from its first position. It reads the disk when they are not in
// memory. What is damaged is logged, and those messages have no keys; with an error it is to be tried again.
func (t *Topic) sumsOfNode(s *stored) ([]uint32, error) {
	for {
		if sums, ok := s.node.Sums(); ok {
			return sums, nil
		}
		if !s.onDisk.Load() {
			return nil, nil // it has gone
		}
		if s.held.Load() != nil {
			_, sums, err := t.sectionsHeld(s)
			return sums, err
		}
		block := s.at()
		sums, err := t.d.readSums(block)
		switch {
		case errors.Is(err, segment.ErrGone) && s.at() != block:
			continue // it was written anew meanwhile
		case errors.Is(err, segment.ErrGone) && s.rewritten():
			of := s.of.Load()
			sums, err := t.sumsOfNode(of)
			return sums[min(int(s.first-of.first), len(sums)):], err
		case errors.Is(err, segment.ErrGone) && t.hasLeft(s):
			return nil, nil
		case errors.Is(err, segment.ErrDamaged) || errors.Is(err, segment.ErrGone):
			t.registry.log.Error("keys of messages are damaged and were lost: these are in no order any more", "topic", t.name, "block",
				block.Ref.String(), "error", err)
			return nil, nil
		}
		return sums, err
	}
}

// keyReader finds the keys of single messages; those of one node that follow each other have it looked at once.
type keyReader struct {
	topic *Topic
	node  *stored
	sums  []uint32
}

// of returns the sum of the key of a message, 0 when it has none.
func (k *keyReader) of(pos Position) (uint32, error) {
	if k.node == nil || !k.node.has(pos) {
		s, err := k.topic.piece(pos)
		if s == nil {
			return 0, err
		}
		if k.sums, err = k.topic.sumsOfNode(s); err != nil {
			return 0, err
		}
		k.node = s
	}
	return sumAt(k.sums, k.node.first, pos), nil
}

// loadKeys looks for the keys of messages that were loaded. Those whose keys cannot be read now are to be tried again.
func (t *Topic) loadKeys(loaded []channel.Retry) (known []channel.Retry, later []inflight.Place) {
	keys := keyReader{topic: t}
	known = loaded[:0]
	for _, r := range loaded {
		var err error
		if r.Key, err = keys.of(r.Pos); err != nil {
			t.registry.log.Error("reading the keys of messages from disk", "topic", t.name, "position", r.Pos, "error", err)
			later = append(later, inflight.Place{At: int64(r.Turn), Pos: r.Pos, Off: inflight.NoOffset, Attempts: r.Attempts})
			continue
		}
		known = append(known, r)
	}
	return known, later
}
