package topic

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// GroupSegments is where the standby of a group keeps messages for which memory has no room: a folder for each generation, of which one is in use,
// and in it a store for each topic.
type GroupSegments interface {
	// Open looks into the segments of a topic.
	Open(generation, topic uint32, name string) (*segment.Store, []segment.Block, error)
	// New makes a generation that there has not been, and Generations returns those that there are.
	New() (generation uint32, err error)
	Generations() ([]uint32, error)
	// Topics returns the numbers of the topics that a generation has something of.
	Topics(generation uint32) ([]uint32, error)
	// Remove removes a generation.
	Remove(generation uint32) error
	// Room returns why so many bytes more may not be written, as what room there is is for others; nil: they may.
	Room(bytes int) error
}

// shelf is the part of a standby that is on disk. What is on it was committed. A block stays until a checkpoint counts that does not name it.
type shelf struct {
	segments   GroupSegments // nil: all is in memory; set at construction, as are those that follow
	generation uint32
	room       int64               // bytes of messages that memory has room for
	ask        func()              // tells that there are more; it does not wait
	damaged    func(error)         // tells that what is needed cannot be read any more, or with ErrUnread not just now; it does not wait
	live       atomic.Pointer[Led] // that evicts what was spilled

	// syncs is held by who syncs, removes or closes stores, before io.
	syncs sync.Mutex
	// io guards the stores: one at a time writes and drops. Reading needs it not, nor does what of a sync takes long.
	io     sync.Mutex
	stores map[uint32]*segment.Store // by topic; guarded by io
	untidy map[*segment.Store]bool   // something of them is to be removed, or closed; guarded by io
	buf    []byte                    // guarded by io
	closed bool                      // guarded by io
	failed error                     // of closing; guarded by io
	others []uint32                  // generations that nobody uses and that are there; guarded by io

	// Guarded by Standby.mu.
	snapshots uint64 // how many there were
	swept     uint64 // what Standby.next was when it was looked for blocks that nobody needs
	freed     []freed
	freedSize int64  // bytes of those that nobody reads
	freedHeld int    // how many of them somebody reads
	onDisk    int64  // bytes of blocks, freed ones not counted
	moved     bool   // blocks were written anew, and no checkpoint counts that knows of it
	movedFor  uint64 // how many snapshots there were then
}

// freed is a block that nobody needs any more, or that was written anew. Snapshots up to a number may name it.
type freed struct {
	after uint64
	block *block
}

// block is messages of a topic that are on disk: those of its positions that somebody needed when it was written. What is in it never changes.
type block struct {
	topic      uint32
	store      *segment.Store
	place      atomic.Pointer[segment.Block]
	first, end Position
	pins       int // of who reads it, whatever becomes of it; guarded by Standby.mu
	needed     int // how many of its messages somebody needed when it was looked last; guarded by Standby.mu

	freed  atomic.Bool  // it is one of shelf.freed
	unread atomic.Int64 // since when it cannot be read, Unix nanoseconds; 0: it can, as far as somebody has tried
}

// whole reports whether it has a message at each of its positions.
func (b *block) whole() bool { return b.place.Load().Held == 0 }

func newBlock(topic uint32, store *segment.Store, at segment.Block) *block {
	b := &block{topic: topic, store: store, first: Position(at.First), end: end(at)}
	b.place.Store(&at)
	b.needed = b.messages()
	return b
}

// messages returns how many messages it has.
func (b *block) messages() int {
	at := b.place.Load()
	return int(cmp.Or(at.Held, at.Count))
}

const (
	// blockBytes is how many bytes of messages a block has, about.
	blockBytes = 256 << 10
	// mostSpan is how many positions there are at most from its first message to its last: nobody may need those between, and a block counts them.
	mostSpan = 1 << 31
)

// Keep says how many bytes of messages memory has room for, and who is told that there are more, and that messages cannot be read any more, or with
// ErrUnread for long. It is called before anything is applied.
func (s *Standby) Keep(room int64, ask func(), damaged func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room, s.ask, s.damaged = room, ask, damaged
	s.lookAgainLocked()
	s.askSpillLocked()
}

// lookAgainLocked sets with how many bytes in memory it is looked again for what nobody needs: twice as many as are there now, but soon when they
// are more than there is room for; yet not at each publish while they are written.
func (s *Standby) lookAgainLocked() {
	s.enough = max(leastEnough, 2*s.bytes)
	if s.room > 0 {
		s.enough = min(s.enough, max(s.room, s.bytes+s.room/4))
	}
}

func (s *Standby) askSpillLocked() {
	if s.ask != nil && s.bytes > s.room {
		s.ask()
	}
}

// OnDisk returns how many bytes of messages are on disk that somebody may need, and how many come free with the next checkpoint that counts.
func (s *Standby) OnDisk() (held, free int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onDisk, s.freedSize
}

// Moved reports whether messages were written anew of which no checkpoint that counts knows: it lets go of where they were.
func (s *Standby) Moved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moved
}

// Tidy looks for what nobody needs any more on disk, if something has happened since it was looked; with memory, also when all is there.
func (s *Standby) Tidy(memory bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.onDisk > 0 || memory && s.bytes > 0) && s.swept != s.next {
		s.thinTopicsLocked(true)
	}
}

// thinBlocksLocked gives up blocks that nobody needs, and notes how much of the others is needed.
func (s *Standby) thinBlocksLocked(of *bodies, need []journal.Range) {
	kept := of.blocks[:0]
	for _, b := range of.blocks {
		switch b.needed = countIn(need, b.first, b.end); {
		case b.needed > 0:
			kept = append(kept, b)
		case b.pins > 0: // that may be over before anything else happens
			s.swept = 0
			kept = append(kept, b)
		default:
			s.freeLocked(b)
		}
	}
	clear(of.blocks[len(kept):])
	of.blocks = kept
}

func (s *Standby) freeLocked(b *block) {
	size := int64(b.place.Load().Ref.Length)
	s.freed = append(s.freed, freed{after: s.snapshots, block: b})
	if b.freed.Store(true); b.pins > 0 {
		s.freedHeld++
	} else {
		s.freedSize += size
	}
	s.onDisk -= size
}

// places returns where the blocks are, as a checkpoint says it.
func (of *bodies) places() (list []journal.Node) {
	for _, b := range of.blocks {
		at := b.place.Load()
		list = append(list, journal.Node{First: b.first, Count: at.Count, File: at.Ref.File, Offset: at.Ref.Offset, Length: at.Ref.Length})
	}
	return list
}

// part is publishes of a topic, the oldest in memory, that become a block.
type part struct {
	topic uint32
	name  string
	of    *bodies
	list  []loggedBatch
}

// Spill writes to segments, oldest first, what memory has no room for, and some more. What fails stays in memory.
func (s *Standby) Spill() error {
	some, err := s.spill()
	if l := s.live.Load(); l != nil && len(some) > 0 {
		l.evict(some)
	}
	return err
}

// SpillAlone is Spill that waits for nobody who serves clients: topics that are led keep what they have in memory till the next Spill.
func (s *Standby) SpillAlone() error {
	_, err := s.spill()
	return err
}

func (s *Standby) spill() (topics map[uint32]bool, err error) {
	topics = map[uint32]bool{}
	for first := true; ; first = false {
		topic, err := s.spillSome(first)
		if topic == 0 || err != nil {
			return topics, err
		}
		topics[topic] = true
	}
}

// spillSome writes a block, and returns the topic that it is of; 0: there was nothing to write. Who waits for io has a turn between two.
func (s *Standby) spillSome(first bool) (topic uint32, err error) {
	s.io.Lock()
	defer s.io.Unlock()
	if s.closed {
		return 0, nil
	}
	p, ok := s.largest(first)
	if !ok {
		return 0, nil
	}
	if err := s.writePart(p); err != nil {
		return 0, fmt.Errorf("messages of topic %s, which is replicated, cannot be moved to the disk: %w", p.name, err)
	}
	return p.topic, nil
}

// largest returns what is to be written next: of the topic that has most in memory. first says that nothing was written yet.
func (s *Standby) largest(first bool) (p part, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first {
		if s.bytes <= s.room {
			return p, false
		}
		if s.looked != s.next {
			s.thinLocked()
		}
	}
	if s.segments == nil || s.bytes <= s.room/2 || first && s.bytes <= s.room {
		return p, false
	}
	for id, of := range s.bodies {
		if p.of == nil || of.bytes > p.of.bytes {
			p.topic, p.of = id, of
		}
	}
	if p.of == nil || len(p.of.batches) == 0 {
		return p, false
	}
	p.name = s.state.Topics[p.topic].Name
	n, size := 0, 0
	for n < len(p.of.batches) && size < blockBytes && p.of.batches[n].Last()-p.of.batches[0].First < mostSpan {
		size += len(p.of.batches[n].frames)
		n++
	}
	p.list = slices.Clone(p.of.batches[:n])
	return p, true
}

// write makes a block of publishes. io is held, and no lock that anybody waits for who serves clients.
func (s *Standby) write(store *segment.Store, list []loggedBatch) (at segment.Block, err error) {
	first, last := list[0].First, list[len(list)-1].Last()
	var runs []segment.Run
	var beside []journal.Beside
	var sums []uint32
	buf := s.buf[:0]
	for i := range list {
		b := &list[i]
		buf = append(buf, b.frames...)
		if k := len(runs) - 1; k >= 0 && runs[k].First+uint64(runs[k].Count) == uint64(b.First) {
			runs[k].Count += uint32(b.Count)
		} else {
			runs = append(runs, segment.Run{First: uint64(b.First), Count: uint32(b.Count)})
		}
		for _, m := range besideOf(b.Properties) {
			m.Pos += b.First
			beside = append(beside, m)
		}
		if sums = append(sums, b.Sums...); b.Sums == nil {
			sums = append(sums, make([]uint32, b.Count)...)
		}
	}
	if s.buf = buf; cap(buf) > 2*blockBytes {
		s.buf = nil
	}
	if err := s.segments.Room(len(buf)); err != nil {
		return at, err
	}
	at, err = store.AppendSome(uint64(first), int(last-first)+1, runs, buf, blockSections(first, beside, sums)...)
	if err != nil {
		s.tidyUp(store) // it may have left a file
	}
	return at, err
}

// writePart makes a block of publishes, in whose place it comes. io is held.
func (s *Standby) writePart(p part) error {
	store, err := s.store(p.topic, p.name)
	if err != nil {
		return err
	}
	at, err := s.write(store, p.list)
	if err != nil {
		return err
	}
	last := p.list[len(p.list)-1].Last()
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.bodies[p.topic]
	if of != p.of { // the topic was deleted, or nobody needs what it has, meanwhile
		return s.drop(store, at.Ref)
	}
	n := 0
	for ; n < len(of.batches) && of.batches[n].Last() <= last; n++ {
		of.bytes -= of.batches[n].weight()
		s.bytes -= of.batches[n].weight()
	}
	clear(of.batches[:n])
	of.batches = of.batches[n:]
	of.blocks = append(of.blocks, newBlock(p.topic, store, at))
	of.spilled = last
	s.onDisk += int64(at.Ref.Length)
	return nil
}
