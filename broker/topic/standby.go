package topic

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Standby is the topics of a group of replicas as its committed records have made them, on every replica, whoever leads: the third store.
// It serves nobody. A broker that comes to lead makes live topics of it, which run ahead of what is committed; when it leads no more they are
// dropped, and the standby is what was committed. Bodies are in memory. Its methods are safe for concurrent use.
type Standby struct {
	mu      sync.Mutex // guards what follows
	state   *journal.State
	batches map[uint32][]loggedBatch // by topic, in order
	next    uint64                   // number of the next record
	made    uint32                   // the highest number of a topic that was ever made
	bytes   int64                    // of publishes, see weight
	enough  int64                    // bytes with which it is looked for messages that nobody needs
	changes uint64                   // of topics and channels that were applied
}

// leastEnough is how many bytes of messages a standby may hold before it looks whether somebody still needs them.
const leastEnough = 4 << 20

// ErrDrift is a record that does not follow from those before it: the standby is not what was committed.
var ErrDrift = errors.New("the standby of a group is not what was committed")

// NewStandby returns a standby of a group without records.
func NewStandby() *Standby {
	return &Standby{state: journal.NewState(), batches: map[uint32][]loggedBatch{}, next: 1, enough: leastEnough}
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
	s.forgetLocked()
	return nil
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
	s.batches[b.Topic] = append(s.batches[b.Topic], b)
	s.bytes += b.weight()
}

// batchOverhead is about how many bytes of memory a publish takes beside what came with it.
const batchOverhead = 256

// weight returns how many bytes a publish counts for.
func (b *loggedBatch) weight() int64 {
	return int64(len(b.frames) + len(b.Properties) + 4*len(b.Sums) + batchOverhead)
}

// forgetLocked forgets the messages of topics that are deleted.
func (s *Standby) forgetLocked() {
	for id, list := range s.batches {
		if s.state.Topics[id] == nil {
			for i := range list {
				s.bytes -= list[i].weight()
			}
			delete(s.batches, id)
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

// Thin drops what nobody needs any more.
func (s *Standby) Thin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.thinLocked()
}

func (s *Standby) thinLocked() {
	s.bytes = 0
	for id, list := range s.batches {
		kept := thinned(list, s.state.Topics[id].Needed())
		for i := range kept {
			s.bytes += kept[i].weight()
		}
		if s.batches[id] = kept; len(kept) == 0 {
			delete(s.batches, id)
		}
	}
	s.enough = max(leastEnough, 2*s.bytes)
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

// needed appends what is needed of a batch. Messages that have something beside their bodies stay together.
func (b *loggedBatch) needed(need []journal.Range, dst []loggedBatch) []loggedBatch {
	i := sort.Search(len(need), func(i int) bool { return need[i].Last >= b.First })
	some := within(need[i:], b.First, b.Last()+1)
	switch {
	case len(some) == 0:
		return dst
	case len(b.Properties) > 0 || some[0] == (journal.Range{First: b.First, Last: b.Last()}):
		return append(dst, *b)
	}
	rest, pos := b.frames, b.First
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

// ErrMidway is a standby that cannot be written down just now: records have come whose others are about to come.
var ErrMidway = errors.New("the standby is in the middle of something")

// StandbySnapshot is what a standby was at one moment.
type StandbySnapshot struct {
	next    uint64
	made    uint32
	state   []byte
	batches [][]loggedBatch
}

// Snapshot returns what it is now. It fails with ErrMidway.
func (s *Standby) Snapshot() (*StandbySnapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Unsure() {
		return nil, ErrMidway
	}
	s.thinLocked()
	var b bytes.Buffer
	if _, err := s.state.Write(&b, recordOffset(s.next)); err != nil {
		return nil, err
	}
	snap := &StandbySnapshot{next: s.next, made: s.made, state: b.Bytes()}
	for _, list := range s.batches {
		snap.batches = append(snap.batches, slices.Clip(list)) // what comes behind is not in it, and what is there is never changed
	}
	return snap, nil
}

// Append appends the snapshot as ReadStandby reads it: the number of the next record, u64; the highest number of a topic, u32; the size of the
// state, u64, and the state, a checkpoint; then each publish, its size u32 before it.
func (s *StandbySnapshot) Append(dst []byte) []byte {
	dst = slices.Grow(dst, s.size())
	dst = binary.BigEndian.AppendUint64(dst, s.next)
	dst = binary.BigEndian.AppendUint32(dst, s.made)
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(s.state)))
	dst = append(dst, s.state...)
	for _, list := range s.batches {
		for i := range list {
			at := len(dst)
			dst = append(dst, 0, 0, 0, 0)
			dst = journal.AppendPublish(dst, list[i].Publish)
			dst = append(dst, list[i].frames...)
			binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		}
	}
	return dst
}

// size returns how many bytes Append appends.
func (s *StandbySnapshot) size() int {
	n := standbyHead + len(s.state)
	var head []byte
	for _, list := range s.batches {
		for i := range list {
			head = journal.AppendPublish(head[:0], list[i].Publish)
			n += 4 + len(head) + len(list[i].frames)
		}
	}
	return n
}

// standbyHead is the size in bytes of what stands before the state.
const standbyHead = 20

// ErrStandby is bytes that are no standby.
var ErrStandby = errors.New("not the standby of a group")

// ReadStandby returns the standby that Append has written.
func ReadStandby(b []byte) (*Standby, error) {
	if len(b) < standbyHead || binary.BigEndian.Uint64(b[12:]) > uint64(len(b)-standbyHead) || binary.BigEndian.Uint64(b) == 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrStandby, len(b))
	}
	s := NewStandby()
	s.next, s.made = binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	size := binary.BigEndian.Uint64(b[12:])
	var err error
	if s.state, err = journal.ReadCheckpoint(bytes.NewReader(b[standbyHead:standbyHead+size]), int64(size)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStandby, err)
	}
	for b = b[standbyHead+size:]; len(b) > 0; {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, fmt.Errorf("%w: a publish is cut", ErrStandby)
		}
		n := binary.BigEndian.Uint32(b)
		p, frames, err := journal.ParsePublish(b[4 : 4+n])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStandby, err)
		}
		if s.state.Topics[p.Topic] == nil {
			return nil, fmt.Errorf("%w: a publish to topic %d, which is not there", ErrStandby, p.Topic)
		}
		s.addLocked(loggedBatch{Publish: p, frames: bytes.Clone(frames)}) // or one message would hold all that was read
		b = b[4+n:]
	}
	s.enough = max(leastEnough, 2*s.bytes)
	return s, nil
}

// copy returns a state and messages that share nothing with it that changes.
func (s *Standby) copy() (*journal.State, map[uint32][]loggedBatch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.thinLocked()
	var b bytes.Buffer
	size, err := s.state.Write(&b, recordOffset(s.next))
	if err != nil {
		return nil, nil, err
	}
	state, err := journal.ReadCheckpoint(&b, size)
	if err != nil {
		return nil, nil, err
	}
	batches := make(map[uint32][]loggedBatch, len(s.batches))
	for id, list := range s.batches {
		some := slices.Clone(list)
		for i := range some {
			some[i].frames = bytes.Clone(some[i].frames)
		}
		batches[id] = some
	}
	return state, batches, nil
}
