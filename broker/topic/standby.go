package topic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Standby is the topics of a group of replicas as its committed records have made them, on every replica, whoever leads: the third store.
// It serves nobody. A broker that comes to lead makes live topics of it, which run ahead of what is committed; when it leads no more they are
// dropped, and the standby is what was committed. Bodies for which memory has no room are in segments: see spill.go. Its methods are safe for
// concurrent use.
type Standby struct {
	shelf // where bodies are that are not in memory

	mu      sync.Mutex // guards what follows; taken after shelf.io
	state   *journal.State
	bodies  map[uint32]*bodies // by topic
	next    uint64             // number of the next record
	made    uint32             // the highest number of a topic that was ever made
	bytes   int64              // of publishes in memory, see weight
	enough  int64              // bytes with which it is looked for messages that nobody needs
	changes uint64             // of topics and channels that were applied
	looked  uint64             // what next was when it was looked for messages in memory that nobody needs

	options sync.RWMutex // guards what follows; only locked last
	set     map[uint32]*policy.Policy
}

// bodies is the messages of a topic of a standby that somebody may need: those on disk come before those in memory. Guarded by Standby.mu.
type bodies struct {
	blocks  []*block
	batches []loggedBatch
	bytes   int64    // of batches
	spilled Position // none up to here is in memory alone
}

// leastEnough is how many bytes of messages a standby may hold before it looks whether somebody still needs them.
const leastEnough = 4 << 20

// ErrDrift is a record that does not follow from those before it: the standby is not what was committed.
var ErrDrift = errors.New("the standby of a group is not what was committed")

// NewStandby returns a standby of a group without records.
func NewStandby() *Standby {
	return &Standby{state: journal.NewState(), bodies: map[uint32]*bodies{}, next: 1, enough: leastEnough}
}

// Apply applies the records of a committed entry, which is not kept. After an error the standby is of no use any more.
func (s *Standby) Apply(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := journal.EachRecord(data, s.applyLocked); err != nil {
		return err
	}
	if s.bytes >= s.enough {
		s.thinLocked()
		s.askSpillLocked()
	}
	return nil
}

func (s *Standby) applyLocked(number uint64, kind journal.Kind, payload []byte) error {
	if number != s.next {
		return fmt.Errorf("%w: record %d, and %d is the next", ErrDrift, number, s.next)
	}
	s.next++
	kept, err := false, error(nil)
	bad := s.state.Apply(recordOffset(number), kind, payload, func(p journal.Publish, frames []byte) {
		kept = true
		err = s.keepLocked(p, frames)
	})
	if bad == nil {
		bad = err
	}
	switch {
	case bad != nil:
		return fmt.Errorf("record %d: %w", number, bad)
	case kind == journal.KindPublish && !kept:
		return fmt.Errorf("%w: record %d publishes to a topic that is not there", ErrDrift, number)
	case kind == journal.KindChange:
		s.changes++
		return s.changedLocked(payload)
	}
	return nil
}

// changedLocked sees to what a change has made of the topics.
func (s *Standby) changedLocked(payload []byte) error {
	var c journal.Change
	if err := json.Unmarshal(payload, &c); err != nil {
		return err
	}
	if c.Op == journal.OpCreateTopic {
		s.made = max(s.made, c.Topic)
	}
	if c.Channel == 0 && c.Op != journal.OpInherit {
		s.optionsLocked(c.Topic)
	}
	s.forgetLocked()
	return nil
}

// optionsLocked sees to what holds for a topic, of which something has changed.
func (s *Standby) optionsLocked(number uint32) {
	var p *policy.Policy
	if t := s.state.Topics[number]; t != nil {
		if raw := ownOptions(decodeOptions(t.Options)); len(raw) > 0 {
			p = policy.Of(policy.Place{Topic: t.Name, Logged: true, Replicated: true}, policy.Layer{Name: t.Name, Set: policy.Kept(raw)})
		}
	}
	s.options.Lock()
	defer s.options.Unlock()
	if s.set == nil {
		s.set = map[uint32]*policy.Policy{}
	}
	if p == nil {
		delete(s.set, number)
	} else {
		s.set[number] = p
	}
}

// Policy returns the options of a topic as the committed records say, nil when all have their defaults. It waits for no record that is being applied.
func (s *Standby) Policy(number uint32) *policy.Policy {
	s.options.RLock()
	defer s.options.RUnlock()
	return s.set[number]
}

// recordOffset is where a record of a group is, as its state and its topics see it: the same on all replicas.
func recordOffset(number uint64) journal.Offset { return journal.Offset{Offset: int64(number)} }

func (s *Standby) keepLocked(p journal.Publish, frames []byte) error {
	if t := s.state.Topics[p.Topic]; p.First != t.Next {
		return fmt.Errorf("%w: topic %s gets message %d, and %d is the next", ErrDrift, t.Name, p.First, t.Next)
	}
	if p.Keys != nil || p.Expires != 0 {
		return fmt.Errorf("%w: a message has what replicated topics do not have yet", ErrDrift)
	}
	p.From = journal.Origin{}
	s.addLocked(loggedBatch{Publish: p, frames: bytes.Clone(frames)})
	return nil
}

// addLocked keeps a publish whose frames are its own.
func (s *Standby) addLocked(b loggedBatch) {
	b.Properties = bytes.Clone(b.Properties)
	of := s.bodiesLocked(b.Topic)
	of.batches = append(of.batches, b)
	of.bytes += b.weight()
	s.bytes += b.weight()
}

func (s *Standby) bodiesLocked(topic uint32) *bodies {
	of := s.bodies[topic]
	if of == nil {
		of = new(bodies)
		s.bodies[topic] = of
	}
	return of
}

// batchOverhead is about how many bytes of memory a publish takes beside what came with it.
const batchOverhead = 256

// weight returns how many bytes a publish counts for.
func (b *loggedBatch) weight() int64 {
	return int64(len(b.frames) + len(b.Properties) + 4*len(b.Sums) + batchOverhead)
}

// forgetLocked forgets the messages of topics that are deleted.
func (s *Standby) forgetLocked() {
	for id, of := range s.bodies {
		if s.state.Topics[id] == nil {
			s.bytes -= of.bytes
			for _, b := range of.blocks {
				s.freeLocked(b)
			}
			delete(s.bodies, id)
		}
	}
}

// EndReign is told that an entry is committed that begins the next reign: what the last leader has appended and what is not committed by
// now never will be.
func (s *Standby) EndReign() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.EndReign()
	s.forgetLocked()
}

// Bytes returns about how many bytes of memory its messages take, those that nobody needs any more not counted, as far as it has looked.
func (s *Standby) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// thinLocked drops what nobody needs any more of what is in memory.
func (s *Standby) thinLocked() { s.thinTopicsLocked(false) }

// thinTopicsLocked drops what nobody needs any more, of what is on disk too where it is asked for: there are very many blocks.
func (s *Standby) thinTopicsLocked(onDisk bool) {
	s.bytes, s.looked = 0, s.next
	if onDisk {
		s.swept = s.next
	}
	for id, of := range s.bodies {
		need := s.state.Topics[id].Needed()
		of.batches, of.bytes = thinned(of.batches, need), 0
		for i := range of.batches {
			of.bytes += of.batches[i].weight()
		}
		s.bytes += of.bytes
		if onDisk {
			s.thinBlocksLocked(of, need)
		}
		if len(of.batches)+len(of.blocks) == 0 {
			delete(s.bodies, id)
		}
	}
	s.lookAgainLocked()
}

// thinned returns what is needed of publishes. They are copied only where that is not all, and never changed, as a snapshot may have them.
func thinned(list []loggedBatch, need []journal.Range) []loggedBatch {
	n := 0
	for n < len(list) && list[n].neededWhole(need) {
		n++
	}
	if n == len(list) {
		return list
	}
	kept := slices.Clone(list[:n])
	for i := n; i < len(list); i++ {
		kept = list[i].needed(need, kept)
	}
	return kept
}

// neededWhole reports whether all messages of a batch are needed.
func (b *loggedBatch) neededWhole(need []journal.Range) bool {
	i := sort.Search(len(need), func(i int) bool { return need[i].Last >= b.First })
	return i < len(need) && need[i].First <= b.First && need[i].Last >= b.Last()
}

// needed appends what is needed of a batch.
func (b *loggedBatch) needed(need []journal.Range, dst []loggedBatch) []loggedBatch {
	i := sort.Search(len(need), func(i int) bool { return need[i].Last >= b.First })
	some := within(need[i:], b.First, b.Last()+1)
	switch {
	case len(some) == 0:
		return dst
	case some[0] == (journal.Range{First: b.First, Last: b.Last()}):
		return append(dst, *b)
	}
	rest, pos, beside := b.frames, b.First, besideOf(b.Properties)
	skip := func(n journal.Position) (skipped []byte) {
		size := 0
		for ; n > 0; n-- {
			size += len(protocol.FirstMessage(rest[size:]))
		}
		skipped, rest = rest[:size], rest[size:]
		return skipped
	}
	for _, r := range some {
		skip(r.First - pos)
		part := *b
		part.First, part.Count = r.First, r.Len()
		part.frames = bytes.Clone(skip(journal.Position(r.Len()))) // or it would hold all of them
		if b.Sums != nil {
			at := int(r.First - b.First)
			part.Sums = slices.Clone(b.Sums[at : at+r.Len()])
		}
		part.Properties = journal.AppendColumn(nil, r.First-b.First, besideIn(beside, []journal.Range{{First: r.First - b.First, Last: r.Last - b.First}}))
		dst = append(dst, part)
		pos = r.Last + 1
	}
	return dst
}

// Topics returns the names of the topics by their numbers in the group.
func (s *Standby) Topics() map[uint32]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make(map[uint32]string, len(s.state.Topics))
	for id, t := range s.state.Topics {
		names[id] = t.Name
	}
	return names
}

// Listed is a topic of a standby, or a channel of one.
type Listed struct {
	Name     string
	Paused   bool
	Channels []Listed // of a topic, sorted by name
}

// List returns the topics with their channels, sorted by name.
func (s *Standby) List() (list []Listed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byName := func(a, b Listed) int { return strings.Compare(a.Name, b.Name) }
	for _, t := range s.state.Topics {
		in := Listed{Name: t.Name, Paused: t.Paused}
		for _, c := range t.Channels[1:] {
			in.Channels = append(in.Channels, Listed{Name: c.Name, Paused: c.Paused})
		}
		slices.SortFunc(in.Channels, byName)
		list = append(list, in)
	}
	slices.SortFunc(list, byName)
	return list
}

// Changes returns how many changes of topics and channels were applied.
func (s *Standby) Changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// Made returns the highest number of a topic that was ever made, 0 for none: one up to that which is not there was deleted.
func (s *Standby) Made() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// Record returns the number of the last record that was applied, 0 for none.
func (s *Standby) Record() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next - 1
}

// copied is what a leader makes a topic of: what it may change.
type copied struct {
	blocks  []*block // pinned
	batches []loggedBatch
}

// copy returns a state and messages that share nothing with it that changes. Blocks are to be let go of with unpin.
func (s *Standby) copy() (*journal.State, map[uint32]copied, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.thinLocked()
	b, err := s.writeLocked(false)
	if err != nil {
		return nil, nil, err
	}
	state, err := journal.ReadCheckpoint(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, nil, err
	}
	all := make(map[uint32]copied, len(s.bodies))
	for id, of := range s.bodies {
		some := slices.Clone(of.batches)
		for i := range some {
			some[i].frames = bytes.Clone(some[i].frames)
		}
		for _, b := range of.blocks {
			b.pins++
		}
		all[id] = copied{slices.Clone(of.blocks), some}
	}
	return state, all, nil
}
