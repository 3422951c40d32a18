package topic

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// blocks is what a topic has in its segments when it is recovered.
type blocks struct {
	store  *segment.Store
	list   []segment.Block // by their first messages, of which no two are the same
	sound  []soundness     // of the blocks of the list
	copies []segment.Block // others with the same first messages
	nodes  []journal.Node  // the checkpoint's, with those of files that it names as a whole and that are not what they were
	files  []journal.File  // the checkpoint's that are there and are what they were
	damage []segment.Damage
}

// soundness is whether all of a block can be read.
type soundness uint8

const (
	unread soundness = iota
	sound
	unsound
)

// openBlocks looks into a topic's segments.
func openBlocks(from Segments, t *journal.Topic) (*blocks, error) {
	whole := make(map[uint32]int64, len(t.Files))
	for i := range t.Files {
		whole[t.Files[i].File] = int64(t.Files[i].Size)
	}
	store, list, damage, err := from.Open(t.ID, t.Name, whole)
	if err != nil {
		return nil, err
	}
	b := &blocks{store: store, damage: damage}
	b.sortFiles(t, list)
	nodes := b.nodes
	for _, blk := range list {
		k := len(b.list) - 1
		if k < 0 || b.list[k].First != blk.First {
			b.list, b.sound = append(b.list, blk), append(b.sound, unread)
			continue
		}
		if here, there := isPlace(nodes, b.list[k]), isPlace(nodes, blk); here != there {
			// It was written anew: where the checkpoint says counts, unless only the other one can be read.
			if (there || !b.isSound(k)) && b.isWhole(blk) {
				b.list[k], blk = blk, b.list[k]
				b.sound[k] = unread
			}
			b.copies = append(b.copies, blk)
			continue
		}
		// One of the two may be of an append that was never finished, or the older one holds messages that the log had lost.
		kept := isNode(nodes, b.list[k])
		if kept && !b.isSound(k) && isNode(nodes, blk) || !kept && (isNode(nodes, blk) || b.isWhole(blk)) {
			b.list[k], blk = blk, b.list[k]
			b.sound[k] = unread
		}
		b.copies = append(b.copies, blk)
	}
	return b, nil
}

// sortFiles tells the files of a checkpoint that are what they were from those that are not: of these each block that is found is a node of
// the checkpoint.
func (b *blocks) sortFiles(t *journal.Topic, found []segment.Block) {
	b.nodes = slices.Clone(t.Nodes) // there may be more
	changed := map[uint32]*journal.File{}
	for i, f := range t.Files {
		if b.store.IsWhole(f.File) {
			b.files = append(b.files, f)
		} else {
			changed[f.File] = &t.Files[i]
		}
	}
	if len(changed) == 0 {
		return
	}
	for _, blk := range found {
		if f := changed[blk.Ref.File]; f != nil && Position(blk.First) >= f.First && end(blk) <= f.End() {
			b.nodes = append(b.nodes, journal.Node{First: Position(blk.First), Count: blk.Count, File: blk.Ref.File, Offset: blk.Ref.Offset,
				Length: blk.Ref.Length})
		}
	}
	slices.SortFunc(b.nodes, func(a, c journal.Node) int { return cmp.Compare(a.First, c.First) })
}

// adopt counts a block that Salvage has found among the checkpoint's.
func (b *blocks) adopt(n journal.Node) {
	i, _ := slices.BinarySearchFunc(b.nodes, n.First, func(other journal.Node, first Position) int { return cmp.Compare(other.First, first) })
	b.nodes = slices.Insert(b.nodes, i, n)
}

// isWhole reads a block and reports whether all of it is there, and what it has beside its messages.
func (b *blocks) isWhole(blk segment.Block) bool {
	_, lost, err := b.store.Read(blk, nil)
	if err != nil || len(lost) > 0 {
		return false
	}
	_, err = b.store.ReadSections(blk.Ref)
	return err == nil
}

func (b *blocks) isSound(i int) bool {
	if b.sound[i] == unread {
		b.sound[i] = unsound
		if b.isWhole(b.list[i]) {
			b.sound[i] = sound
		}
	}
	return b.sound[i] == sound
}

// holding returns which block has the message at that position, -1 when none has.
func (b *blocks) holding(pos Position) int {
	i := sort.Search(len(b.list), func(i int) bool { return Position(b.list[i].First) > pos }) - 1
	if i >= 0 && pos < end(b.list[i]) {
		return i
	}
	return -1
}

// extract returns messages of a sound block that cannot be used as a whole, as the log has not all of it.
func (b *blocks) extract(first Position, count int) ([]byte, error) {
	i := b.holding(first)
	if i < 0 {
		return nil, fmt.Errorf("message %d: %w", first, errGoneNode)
	}
	rest, lost, err := b.store.Read(b.list[i], nil)
	if err != nil || len(lost) > 0 {
		return nil, fmt.Errorf("block %v cannot be read any more: %w", b.list[i].Ref, errors.Join(err, segment.ErrDamaged))
	}
	if first+Position(count) > end(b.list[i]) {
		return nil, fmt.Errorf("block %v ends within messages that were published together: %w", b.list[i].Ref, segment.ErrDamaged)
	}
	for range first - Position(b.list[i].First) {
		rest = rest[len(protocol.FirstMessage(rest)):]
	}
	size := 0
	for range count {
		size += len(protocol.FirstMessage(rest[size:]))
	}
	return slices.Clone(rest[:size]), nil
}

// end returns the position behind a block.
func end(b segment.Block) Position { return Position(b.First) + Position(b.Count) }

// nodeOf returns which node of a checkpoint has the message at that position, -1 when none has.
func nodeOf(nodes []journal.Node, pos Position) int {
	i := sort.Search(len(nodes), func(i int) bool { return nodes[i].First > pos }) - 1
	if i >= 0 && pos < nodes[i].End() {
		return i
	}
	return -1
}

// isNode reports whether a block is one of the checkpoint's: it was synced then.
func isNode(nodes []journal.Node, b segment.Block) bool {
	i := nodeOf(nodes, Position(b.First))
	return i >= 0 && nodes[i].First == Position(b.First) && nodes[i].Count == b.Count
}

// isPlace reports whether the checkpoint says that a block is where it is.
func isPlace(nodes []journal.Node, b segment.Block) bool {
	i := nodeOf(nodes, Position(b.First))
	return i >= 0 && nodes[i].File == b.Ref.File && nodes[i].Offset == b.Ref.Offset && nodes[i].Length == b.Ref.Length
}

// piece is messages that were appended together, on disk or out of the log.
type piece struct {
	first, end Position
	block      segment.Block
	file       *journal.File // as a whole; nil: it is none
	held       *block        // of the standby of a group of replicas; nil: it is none
	frames     []byte        // nil when they are on disk
	beside     []byte        // of frames: a column
	sums       []uint32      // of frames: of their keys
}

// nodes makes the topic's nodes: blocks of its segments, and batches of the log that are in no block that can be used.
// What is newer than the checkpoint was perhaps never synced, and is now, as the next checkpoint builds on it.
func (b *builder) nodes() error {
	var pieces []piece
	var unused []segment.Block
	files := b.found.files
	add := func(p piece) (used bool) {
		if used = len(pieces) == 0 || pieces[len(pieces)-1].end <= p.first; used {
			pieces = append(pieces, p)
		}
		return used
	}
	for i, blk := range b.found.list {
		for ; len(files) > 0 && files[0].First <= Position(blk.First); files = files[1:] {
			add(piece{first: files[0].First, end: files[0].End(), file: &files[0]})
		}
		if !b.usable(i) || !add(piece{first: Position(blk.First), end: end(blk), block: blk}) {
			unused = append(unused, blk)
		}
	}
	for i := range files {
		add(piece{first: files[i].First, end: files[i].End(), file: &files[i]})
	}
	for _, blk := range b.held {
		add(piece{first: blk.first, end: blk.end, held: blk})
	}
	used := len(pieces)
	for _, batch := range b.batches {
		i := sort.Search(used, func(i int) bool { return pieces[i].first > batch.First }) - 1
		if i < 0 || batch.First >= pieces[i].end {
			if batch.frames == nil {
				var err error
				if batch.frames, err = b.found.extract(batch.First, batch.Count); err != nil {
					return err
				}
			}
			pieces = append(pieces, piece{first: batch.First, end: batch.Last() + 1, frames: batch.frames, beside: batch.Properties,
				sums: batch.Sums})
		}
	}
	slices.SortFunc(pieces, func(a, c piece) int { return cmp.Compare(a.first, c.first) })
	unsynced := map[uint32]uint32{}
	for _, p := range pieces {
		b.append(p)
		if p.frames == nil && p.file == nil && p.held == nil && !isNode(b.found.nodes, p.block) {
			ref := p.block.Ref
			if first, some := unsynced[ref.File]; !some || ref.Offset < first {
				unsynced[ref.File] = ref.Offset
			}
		}
	}
	b.batches = nil
	b.leave(unused)
	b.found.store.SyncFiles(unsynced)
	return nil
}

// leave gives up blocks of which the checkpoint and the log say nothing: they were not needed any more and came back with a
// crash, or what they hold was never in the log. When something could not be read nobody knows, and their files are put aside.
func (b *builder) leave(unused []segment.Block) {
	d, r := b.topic.d, b.registry
	unused = append(unused, b.found.copies...)
	if len(unused) > 0 && !b.complete {
		r.log.Warn("blocks on disk are put aside of which nothing is known, as not all that was known could be read", "topic",
			b.topic.name, "blocks", len(unused), "first", unused[0].Ref.String())
	}
	for _, blk := range unused {
		if !b.complete {
			b.found.store.Keep(blk.Ref)
		}
		d.dropped = append(d.dropped, blk.Ref)
		r.dropped.Add(1)
	}
}

// usable reports whether a block can be used: it is one of the checkpoint, or the log, which holds all that is newer, has all of its
// messages. One that is newer than the checkpoint and cannot be read is of no use: it may never have been synced.
func (b *builder) usable(i int) bool {
	blk := b.found.list[i]
	if k := nodeOf(b.found.nodes, Position(blk.First)); k >= 0 {
		return isNode(b.found.nodes, blk)
	}
	next := Position(blk.First)
	first := sort.Search(len(b.batches), func(i int) bool { return b.batches[i].First >= next })
	for _, batch := range b.batches[first:] {
		if batch.First != next || next == end(blk) {
			break
		}
		next = batch.Last() + 1
	}
	return next == end(blk) && b.found.isSound(i)
}

func (b *builder) append(p piece) {
	t := b.topic
	if p.file != nil {
		b.restoreFile(p.file)
		return
	}
	if p.frames == nil {
		if p.held != nil {
			p.block = *p.held.place.Load()
		}
		t.d.nodes.Close()
		n := backlog.NewCold(t.d.nodes.Last(), p.first, int(p.end-p.first), int(p.block.Ref.Length))
		t.d.nodes.After(n)
		s := t.d.table.add(n)
		s.block = p.block
		if p.held != nil {
			held := []*block{p.held}
			b.led.standby.repin(held)
			s.held.Store(&held)
		}
		t.setOnDisk(s)
		return
	}
	next := t.d.next
	batch := Batch{frames: p.frames, n: int(p.end - p.first), beside: besideOf(p.beside), sums: p.sums}
	t.keepLocked(&batch, p.first)
	t.d.next = max(next, t.d.next)
}

// skipNumbers sees to it that no message gets the position of one that a block has of which the log says nothing, as it was lost.
func (b *builder) skipNumbers() {
	d := b.topic.d
	next := d.next
	for _, blk := range slices.Concat(b.found.list, b.found.copies) {
		next = max(next, end(blk))
	}
	if next == d.next {
		return
	}
	if d.imports != nil { // it counts by these numbers
		d.imports.Next += next - d.next
	}
	d.next = next
	if err := d.log.Commit(d.skip(), true); err != nil {
		b.registry.log.Error("positions that must not be used again were not written to the log", "topic", b.topic.name, "error", err)
	}
}
