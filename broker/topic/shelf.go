package topic

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// store returns the store of a topic. io is held.
func (s *Standby) store(topic uint32, name string) (*segment.Store, error) {
	if store := s.stores[topic]; store != nil {
		return store, nil
	}
	store, _, err := s.segments.Open(s.generation, topic, name)
	if err != nil {
		return nil, err
	}
	s.keepStore(topic, store)
	return store, nil
}

func (s *Standby) keepStore(topic uint32, store *segment.Store) {
	if s.stores == nil {
		s.stores = map[uint32]*segment.Store{}
	}
	s.stores[topic] = store
}

// Hold has everything that is on disk be synced, and nothing more be written there until release: then what a snapshot names is safe.
func (s *Standby) Hold() (release func(), err error) {
	s.syncs.Lock()
	release = func() {
		s.io.Unlock()
		s.syncs.Unlock()
	}
	s.syncAhead()
	s.io.Lock()
	if s.closed { // they were synced then, or were not
		if s.failed != nil {
			release()
			return nil, s.failed
		}
		return release, nil
	}
	for id, store := range s.stores {
		if err = s.sync(id, store); err != nil {
			release()
			return nil, fmt.Errorf("segments of a group: %w", err)
		}
		if len(s.stores) > manyStores {
			_ = store.Release() // it is synced, and opens what it needs
		}
	}
	return release, nil
}

// syncAhead syncs what there is without keeping anybody from writing more: who publishes waits for that when memory is full. What fails is left to Hold.
// syncs is held.
func (s *Standby) syncAhead() {
	s.io.Lock()
	defer s.io.Unlock()
	if s.closed {
		return
	}
	for _, store := range slices.Collect(maps.Values(s.stores)) {
		if store.Unsynced() == 0 {
			continue
		}
		y, err := store.BeginSync()
		if err != nil {
			continue
		}
		s.io.Unlock()
		y.Run()
		s.io.Lock()
		_ = store.EndSync(y)
	}
}

// manyStores is how many topics may have files open for writing between two checkpoints.
const manyStores = 64

// sync syncs a topic's store. Blocks that a sync has left in doubt are written anew.
func (s *Standby) sync(topic uint32, store *segment.Store) error {
	if store.Unsynced() == 0 && len(store.Doubtful()) == 0 {
		return nil
	}
	err := store.Sync()
	doubtful := store.Doubtful()
	if len(doubtful) == 0 {
		return err
	}
	s.tidyUp(store)
	s.mu.Lock()
	var list []*block
	if of := s.bodies[topic]; of != nil {
		list = slices.Clone(of.blocks)
	}
	for _, f := range s.freed {
		if f.block.store == store && f.block.pins > 0 {
			list = append(list, f.block)
		}
	}
	s.mu.Unlock()
	for _, b := range list {
		if slices.Contains(doubtful, b.place.Load().Ref) {
			if err := b.renew(); err != nil {
				return err
			}
		}
	}
	s.dropFreed(func(f freed) bool {
		return f.block.store == store && slices.Contains(doubtful, f.block.place.Load().Ref)
	})
	return store.Sync()
}

// renew writes a block anew.
func (b *block) renew() error {
	old := *b.place.Load()
	frames, held, lost, err := b.store.ReadHeld(old, nil)
	if err != nil || len(lost) > 0 {
		return fmt.Errorf("block %s cannot be read whole: %w", old.Ref, errors.Join(err, segment.ErrDamaged))
	}
	sections, _, err := b.store.ReadBeside(old)
	if err != nil {
		return fmt.Errorf("block %s cannot be read whole: %w", old.Ref, err)
	}
	sections = slices.DeleteFunc(sections, func(s segment.Section) bool { return s.Kind != sectionProperties && s.Kind != sectionKeys })
	if held == nil {
		held = []segment.Run{{First: old.First, Count: old.Count}}
	}
	at, err := b.store.AppendSome(old.First, int(old.Count), held, frames, sections...)
	if err != nil {
		return err
	}
	b.place.Store(&at)
	return b.store.Drop(old.Ref)
}

// Named is told that a snapshot is what a start goes on from: what it does not name goes, unless somebody reads it still.
func (s *Standby) Named(snapshot uint64) error {
	s.syncs.Lock()
	defer s.syncs.Unlock()
	s.io.Lock()
	defer s.io.Unlock()
	if s.closed {
		return nil // the next start sees to it
	}
	s.mu.Lock()
	s.moved = s.moved && s.movedFor >= snapshot
	s.mu.Unlock()
	errs := s.dropFreed(func(f freed) bool { return f.after < snapshot })
	return errors.Join(append(errs, s.removeUnused(), s.removeOthers())...)
}

// dropFreed drops some of what nobody needs nor reads, and closes what it came to meanwhile. io is held.
func (s *Standby) dropFreed(some func(freed) bool) (errs []error) {
	s.mu.Lock()
	var list []*block
	s.freed = slices.DeleteFunc(s.freed, func(f freed) bool {
		if f.block.pins > 0 || !some(f) {
			return false
		}
		s.freedSize -= int64(f.block.place.Load().Ref.Length)
		list = append(list, f.block)
		return true
	})
	s.mu.Unlock()
	for _, b := range list {
		if err := s.drop(b.store, b.place.Load().Ref); !errors.Is(err, segment.ErrGone) {
			errs = append(errs, err)
		}
	}
	for store := range s.untidy {
		err := store.Release()
		if errs = append(errs, err); err == nil {
			delete(s.untidy, store)
		}
	}
	return errs
}

// removeUnused removes what is left on disk of topics that are deleted, once nobody needs a block of them. io is held.
func (s *Standby) removeUnused() error {
	s.mu.Lock()
	freed := map[uint32]bool{}
	for _, f := range s.freed {
		freed[f.block.topic] = true
	}
	var list []uint32
	for topic := range s.stores {
		if s.state.Topics[topic] == nil && !freed[topic] {
			list = append(list, topic)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, topic := range list {
		store := s.stores[topic]
		err := store.RemoveAll()
		if errs = append(errs, err); err == nil {
			delete(s.stores, topic)
			delete(s.untidy, store)
		}
	}
	return errors.Join(errs...)
}

// drop drops a block; with the last one its file goes once the store is released. io is held.
func (s *Standby) drop(store *segment.Store, ref segment.Ref) error {
	s.tidyUp(store)
	return store.Drop(ref)
}

// tidyUp has a store be released when a checkpoint counts the next time. io is held.
func (s *Standby) tidyUp(store *segment.Store) {
	if s.untidy == nil {
		s.untidy = map[*segment.Store]bool{}
	}
	s.untidy[store] = true
}

// Number returns the number of the snapshot, for Standby.Named.
func (s *StandbySnapshot) Number() uint64 { return s.number }

// Close closes the stores, synced. What is read of them afterwards fails; what was applied stays known.
func (s *Standby) Close() error {
	s.syncs.Lock()
	defer s.syncs.Unlock()
	s.io.Lock()
	defer s.io.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, store := range s.stores {
		errs = append(errs, store.Close())
	}
	s.failed = errors.Join(errs...)
	return s.failed
}

// openBlocks finds the blocks that the state names. What it does not name was written behind the checkpoint, or was let go of before: it goes with
// the next one. Nobody knows the standby yet.
func (s *Standby) openBlocks() error {
	if s.segments == nil {
		for _, t := range s.state.Topics {
			if len(t.Nodes) > 0 {
				return fmt.Errorf("%w: messages of topic %s are in segments, and there are none", ErrStandby, t.Name)
			}
		}
		return nil
	}
	known, err := s.segments.Topics(s.generation)
	if err != nil {
		return err
	}
	for id, t := range s.state.Topics {
		if len(t.Nodes) > 0 && !slices.Contains(known, id) {
			return fmt.Errorf("%w: the segments of topic %s are not there", ErrStandby, t.Name)
		}
	}
	for _, id := range known {
		if err := s.openTopic(id); err != nil {
			return err
		}
	}
	if err := s.findOthers(); err != nil {
		return err
	}
	_ = s.removeOthers() // Named tells
	return nil
}

// findOthers notes which generations there are that are not in use. Nobody knows the standby yet, nor is one on its way.
func (s *Standby) findOthers() (err error) {
	if s.segments == nil {
		return nil
	}
	s.others, err = s.segments.Generations()
	s.others = slices.DeleteFunc(s.others, func(generation uint32) bool { return generation == s.generation })
	return err
}

func (s *Standby) openTopic(id uint32) error {
	name := ""
	var nodes []journal.Node
	if t := s.state.Topics[id]; t != nil {
		name, nodes, t.Nodes = t.Name, t.Nodes, nil
	}
	store, list, err := s.segments.Open(s.generation, id, name)
	if err != nil {
		return err
	}
	s.keepStore(id, store)
	s.tidyUp(store) // there may be a file without a block that is whole
	found := make(map[segment.Ref]segment.Block, len(list))
	for _, b := range list {
		found[b.Ref] = b
	}
	of := new(bodies)
	for _, n := range nodes {
		ref := segment.Ref{File: n.File, Offset: n.Offset, Length: n.Length}
		b, ok := found[ref]
		if !ok || Position(b.First) != n.First || b.Count != n.Count {
			return fmt.Errorf("%w: topic %s lacks messages %d to %d, in %s of its segments", ErrStandby, name, n.First, n.End()-1, ref)
		}
		delete(found, ref)
		of.blocks = append(of.blocks, newBlock(id, store, b))
		of.spilled = n.End() - 1
		s.onDisk += int64(ref.Length)
	}
	if len(of.blocks) > 0 {
		s.bodies[id] = of
	}
	for _, b := range found { // the checkpoint that counts may be another one, and name them: the next one will not
		s.onDisk += int64(b.Ref.Length)
		s.freeLocked(newBlock(id, store, b))
	}
	return nil
}

// removeOthers removes generations that were not in use when the standby was opened. What cannot be removed now is tried again with the next checkpoint:
// it is in nobody's way. io is held, or nobody knows the standby yet.
func (s *Standby) removeOthers() error {
	var errs []error
	s.others = slices.DeleteFunc(s.others, func(generation uint32) bool {
		err := s.segments.Remove(generation)
		errs = append(errs, err)
		return err == nil
	})
	return errors.Join(errs...)
}
