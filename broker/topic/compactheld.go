package topic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// Compact is Registry.Compact of what a group of replicas has on this one's disk. What is needed of blocks that follow each other is written together as
// one block, which comes in their place: they stay for who reads them, and until a checkpoint counts that does not name them.
func (s *Standby) Compact(ctx context.Context, read func(bytes int) error) (done bool, err error) {
	topics := map[uint32]bool{}
	for _, v := range s.sparse() {
		some, err := s.compact(ctx, v, read)
		topics[v.topic] = topics[v.topic] || some
		done = done || some
		if err != nil || ctx.Err() != nil {
			break
		}
	}
	if l := s.live.Load(); l != nil && done {
		l.renew(topics)
	}
	return done, err
}

// Bounds of what is written anew before a checkpoint lets go of where it was, in bytes: a disk that is nearly full has room for it, or it is not begun.
const (
	mostMoved = 64 << 20
	roomMoved = 4 // times as many must be free
)

// sparseFile is a file of segments of which little is needed.
type sparseFile struct {
	topic  uint32
	store  *segment.Store
	number uint32
	needed int64 // bytes
}

// victims are blocks of a topic, in order, in files of which little is needed.
type victims struct {
	topic  uint32
	blocks []*block
	need   []journal.Range // of the topic; since then it can only have become less
}

// sparse returns what is worth being written anew, and has room. Nothing more is written to those files.
func (s *Standby) sparse() (list []victims) {
	s.io.Lock()
	defer s.io.Unlock()
	if s.closed {
		return nil
	}
	files := s.sparseFiles()
	slices.SortFunc(files, func(a, b sparseFile) int { return cmp.Compare(a.needed, b.needed) })
	chosen, moved := map[uint32]map[uint32]bool{}, int64(0)
	for _, f := range files {
		moved += f.needed
		if moved > mostMoved && len(chosen) > 0 || s.segments.Room(int(roomMoved*moved)) != nil {
			break
		}
		if f.store.Seal(f.number) != nil {
			continue
		}
		if chosen[f.topic] == nil {
			chosen[f.topic] = map[uint32]bool{}
		}
		chosen[f.topic][f.number] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, of := range s.bodies {
		v := victims{topic: id}
		for _, b := range of.blocks {
			if b.needed > 0 && chosen[id][b.place.Load().Ref.File] {
				v.blocks = append(v.blocks, b)
			}
		}
		if len(v.blocks) > 0 {
			v.need = s.state.Topics[id].Needed()
			list = append(list, v)
		}
	}
	return list
}

// sparseFiles returns the files of which less than half is needed. io is held.
func (s *Standby) sparseFiles() (list []sparseFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onDisk > 0 && s.swept != s.next {
		s.thinTopicsLocked(true)
	}
	for id, of := range s.bodies {
		store := s.stores[id]
		if store == nil {
			continue
		}
		needed := map[uint32]int64{}
		for _, b := range of.blocks {
			ref := b.place.Load().Ref
			needed[ref.File] += int64(ref.Length) * int64(b.needed) / int64(b.messages())
		}
		sizes := store.Sizes()
		for file, n := range needed {
			if n > 0 && isSparse(store, sizes[file], n) {
				list = append(list, sparseFile{id, store, file, n})
			}
		}
	}
	return list
}

// moving is what is needed of blocks that follow each other, on its way to one block.
type moving struct {
	from  []*block // pinned
	list  []loggedBatch
	bytes int
}

// takes reports whether what is in a block may come to it as well.
func (m *moving) takes(b *block) bool {
	return m.bytes < blockBytes && (len(m.list) == 0 || b.end-m.list[0].First < mostSpan)
}

// compact writes anew what is needed of some blocks.
func (s *Standby) compact(ctx context.Context, v victims, read func(bytes int) error) (done bool, err error) {
	var m moving
	end := func() error {
		some, err := s.replace(v.topic, &m)
		done = done || some
		s.unpin(m.from)
		m = moving{}
		return err
	}
	for _, b := range v.blocks {
		if ctx.Err() != nil {
			break
		}
		if !m.takes(b) || !s.follows(m.from, b) {
			if err := end(); err != nil {
				return done, err
			}
		}
		if err := read(int(b.place.Load().Ref.Length)); err != nil {
			break // it is to end
		}
		if !s.pinAlso(b) {
			continue // nobody needs it any more
		}
		list, size, err := s.neededOf(v, b)
		if err != nil {
			s.unpin([]*block{b})
			if errors.Is(err, errBlock) {
				continue // who needs what is in it says so
			}
			return done, cmp.Or(end(), err)
		}
		m.from, m.list, m.bytes = append(m.from, b), append(m.list, list...), m.bytes+size
	}
	return done, end()
}

// neededOf reads what is needed of a block.
func (s *Standby) neededOf(v victims, b *block) (list []loggedBatch, size int, err error) {
	err = s.publishes(v.topic, b, func(p loggedBatch) error {
		list = p.needed(v.need, list)
		return nil
	})
	for i := range list {
		size += len(list[i].frames)
	}
	return list, size, err
}

// replace writes what is needed of blocks as one that comes in their place, and reports whether it has.
func (s *Standby) replace(topic uint32, m *moving) (done bool, err error) {
	if len(m.list) == 0 {
		return false, nil // nobody needs them any more: they go by themselves
	}
	s.io.Lock()
	defer s.io.Unlock()
	store := s.stores[topic]
	if s.closed || store == nil {
		return false, nil
	}
	at, err := s.write(store, m.list)
	if err != nil {
		return false, fmt.Errorf("messages of a replicated topic cannot be written anew: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.bodies[topic]
	i := of.index(m.from[0])
	if i < 0 { // the topic was deleted meanwhile; else they are all there, as they are pinned
		return false, s.drop(store, at.Ref)
	}
	of.blocks = slices.Replace(of.blocks, i, i+len(m.from), newBlock(topic, store, at))
	s.onDisk += int64(at.Ref.Length)
	for _, b := range m.from {
		s.freeLocked(b)
	}
	s.moved, s.movedFor = true, s.snapshots
	return true, nil
}

// index returns which block of a topic one is, -1 when it is none of them.
func (of *bodies) index(b *block) int {
	if of == nil {
		return -1
	}
	i := sort.Search(len(of.blocks), func(i int) bool { return of.blocks[i].first >= b.first })
	if i == len(of.blocks) || of.blocks[i] != b {
		return -1
	}
	return i
}

// follows reports whether a block is the next one of its topic behind some others.
func (s *Standby) follows(some []*block, b *block) bool {
	if len(some) == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.bodies[b.topic]
	return of.index(b) == of.index(some[len(some)-1])+1
}

// pinAlso pins a block, unless nobody needs it any more.
func (s *Standby) pinAlso(b *block) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.freed.Load() {
		return false
	}
	b.pins++
	return true
}

// replaced returns the topics of which blocks were given up, or written anew, that somebody reads.
func (s *Standby) replaced() (topics map[uint32]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freedHeld == 0 {
		return nil
	}
	topics = map[uint32]bool{}
	for _, f := range s.freed {
		if f.block.pins > 0 {
			topics[f.block.topic] = true
		}
	}
	return topics
}
