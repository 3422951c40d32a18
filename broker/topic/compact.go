package topic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// Compact writes together anew what is needed of segment files of which less than half is, so that a few messages that nobody finishes
// do not hold gigabytes. Who calls paces it: read is told how many bytes are about to be read, and returns when they may be. What was
// written anew goes, with its file, once CompactCheckpoints checkpoints were named. It returns whether something was written.
func (r *Registry) Compact(ctx context.Context, read func(bytes int) error) (done bool, err error) {
	if r.onDisk.Load() == 0 {
		return false, nil
	}
	for _, t := range r.durable() {
		if t.d.onDisk.Load() == 0 || t.deleted.Load() {
			continue
		}
		some, err := t.compact(ctx, read)
		done = done || some
		if err != nil {
			return done, fmt.Errorf("compacting topic %s: %w", t.name, err)
		}
	}
	return done, ctx.Err()
}

// staleBlock is a block that was written anew elsewhere.
type staleBlock struct {
	ref   segment.Ref
	named int // checkpoints that were named since
}

// CompactCheckpoints is after how many checkpoints neither of the two that count refers to a block that was written anew: one may have been
// half made by then.
const CompactCheckpoints = 3

// aged counts a checkpoint that was named, and gives up blocks that were written anew and to which none refers any more.
func (r *Registry) aged() {
	for _, t := range r.durable() {
		t.pub.Lock()
		kept := t.d.stale[:0]
		for _, s := range t.d.stale {
			if s.named++; s.named < CompactCheckpoints {
				kept = append(kept, s)
				continue
			}
			t.d.dropped = append(t.d.dropped, s.ref)
			r.dropped.Add(1)
		}
		t.d.stale = kept
		t.pub.Unlock()
	}
}

func (t *Topic) compact(ctx context.Context, read func(int) error) (done bool, err error) {
	victims := t.sparse()
	if len(victims) == 0 {
		return false, nil
	}
	need := t.neededIn(victims)
	for _, s := range victims {
		runs := within(need, s.first, Position(s.end.Load()))
		block := s.at()
		if len(runs) == 0 || ctx.Err() != nil { // nobody needs it any more: it goes by itself
			continue
		}
		if err := read(int(block.Ref.Length)); err != nil {
			return done, err
		}
		some, err := t.rewrite(s, block, runs)
		done = done || some
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// sparse returns the nodes in files of which less than half is needed, at most.
func (t *Topic) sparse() (victims []*stored) {
	waiting := t.waiting()
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.d.segments == nil {
		return nil
	}
	needed := map[uint32]int64{} // bytes, by file
	kept := map[uint32]bool{}    // with messages that are kept: all of that stays as it is
	list := t.d.table.each()
	for _, s := range list {
		if !s.onDisk.Load() || t.d.retain.keeps(s) {
			continue
		}
		b := s.at()
		held := int64(cmp.Or(b.Held, b.Count))
		n := s.pins.Load()
		n += int64(countIn(waiting, s.first, Position(s.end.Load())))
		needed[b.Ref.File] += int64(b.Ref.Length) * min(n, held) / held
	}
	if len(needed) == 0 {
		return nil
	}
	for _, s := range list {
		if s.onDisk.Load() && t.d.retain.keeps(s) {
			kept[s.at().Ref.File] = true
		}
	}
	sizes := t.d.segments.Sizes()
	for _, s := range list {
		if !s.onDisk.Load() {
			continue
		}
		file := s.at().Ref.File
		if !kept[file] && isSparse(t.d.segments, sizes[file], needed[file]) {
			victims = append(victims, s)
			if err := t.d.segments.Seal(file); err != nil { // or it would be written to itself
				t.registry.log.Warn("closing a file of segments", "topic", t.name, "error", err)
			}
		}
	}
	return victims
}

// minSparse is which part of a full file one must have at least to be worth it.
const minSparse = 64

// isSparse reports whether so little is needed of a file of segments that this is to be written anew.
func isSparse(store *segment.Store, size, needed int64) bool {
	return size*minSparse >= store.FileSize() && 2*needed < size
}

// waiting returns what waits on any channel, sorted, without overlaps.
func (t *Topic) waiting() (list []backlog.Range) {
	for _, c := range t.all() {
		c.enter()
		list = c.machine.Waiting(list)
		c.exit()
	}
	return journal.Merge(list)
}

// neededIn returns which messages of some nodes any channel needs, sorted, without overlaps. Each channel is looked at in one moment;
// since then a message can only have become less needed. What is in the topic's own backlog moves to channels only, so that it is looked
// at first.
func (t *Topic) neededIn(nodes []*stored) (list []backlog.Range) {
	low, high := nodes[0].first, Position(nodes[len(nodes)-1].end.Load())
	add := func(pos Position) {
		if pos < low || pos >= high { // of millions that are deferred nearly all
			return
		}
		i, ok := slices.BinarySearchFunc(nodes, pos, func(s *stored, pos Position) int { return cmp.Compare(s.first, pos) })
		if !ok {
			i--
		}
		if i < 0 || !nodes[i].has(pos) {
			return
		}
		if k := len(list) - 1; k >= 0 && list[k].Last+1 == pos {
			list[k].Last = pos
			return
		}
		list = append(list, backlog.Range{First: pos, Last: pos})
	}
	look := func(c *Channel) {
		if c == t.own {
			t.pub.Lock() // else what is on its way to the channels would be nowhere
		}
		c.enter()
		ranges := c.machine.Waiting(nil)
		places := c.machine.EachOut(func(pos Position, _ uint16) { add(pos) })
		c.machine.EachBuried(func(pos Position, _ uint16) { add(pos) })
		c.exit()
		if c == t.own {
			t.pub.Unlock()
		}
		for _, r := range journal.Merge(ranges) {
			for _, s := range nodes {
				if both := (backlog.Range{First: max(r.First, s.first), Last: min(r.Last, Position(s.end.Load())-1)}); both.First <= both.Last {
					list = append(list, both)
				}
			}
		}
		for _, p := range places {
			for m := range p.All() {
				add(m.Pos)
			}
		}
	}
	look(t.own)
	for _, c := range t.Channels() {
		look(c)
	}
	return journal.Merge(list)
}

// within returns the parts of sorted ranges from first on and before end: none when end is not behind first.
func within(list []backlog.Range, first, end Position) (part []backlog.Range) {
	if end <= first {
		return nil
	}
	i, _ := slices.BinarySearchFunc(list, first, func(r backlog.Range, pos Position) int { return cmp.Compare(r.Last, pos) })
	for ; i < len(list) && list[i].First < end; i++ {
		part = append(part, backlog.Range{First: max(list[i].First, first), Last: min(list[i].Last, end-1)})
	}
	return part
}

// countIn returns how many messages of sorted ranges there are from first on and before end.
func countIn(list []backlog.Range, first, end Position) (n int) {
	i, _ := slices.BinarySearchFunc(list, first, func(r backlog.Range, pos Position) int { return cmp.Compare(r.Last, pos) })
	for ; i < len(list) && list[i].First < end; i++ {
		n += int(min(list[i].Last, end-1) - max(list[i].First, first) + 1)
	}
	return n
}

// rewriting is what of a node is written anew.
type rewriting struct {
	frames []byte
	runs   []segment.Run
	beside []journal.Beside
	sums   []uint32 // one for each message, nothing when none has a key
}

// gather adds those messages of a block that are needed. ok is false when there is damage, or nobody needs the node any more.
func (w *rewriting) gather(t *Topic, s *stored, block segment.Block, need []backlog.Range) (ok bool, err error) {
	frames, held, lost, err := t.d.segments.ReadHeld(block, nil)
	var beside []journal.Beside
	if err == nil && len(lost) == 0 {
		beside, err = t.d.readBeside(block)
	}
	var sums []uint32
	if err == nil && len(lost) == 0 {
		sums, err = t.d.readSums(block)
	}
	if errors.Is(err, segment.ErrGone) && (s.gone.Load() || s.at() != block) {
		return false, nil // nobody needs it any more, since it was looked at
	}
	if err != nil || len(lost) > 0 {
		return false, err // damage stays where it is: its file is put aside, not removed
	}
	frames, runs := pick(frames, heldRanges(block, held), need)
	if len(w.runs) > 0 {
		frames = append(w.frames, frames...)
	}
	w.frames, w.beside = frames, append(w.beside, besideIn(beside, need)...)
	had := 0
	for _, r := range w.runs {
		had += int(r.Count)
	}
	some := gathered(sums, Position(block.First), rangesOf(runs))
	if len(some) > 0 {
		w.sums = append(w.sums, make([]uint32, had-len(w.sums))...)
		w.sums = append(w.sums, some...)
	}
	w.runs = append(w.runs, runs...)
	return true, nil
}

// rewrite writes some messages of a node's block, or of all blocks of its file, anew. They are read under no lock.
func (t *Topic) rewrite(s *stored, block segment.Block, need []backlog.Range) (done bool, err error) {
	pieces, err := t.pieces(s)
	if err != nil {
		return false, err
	}
	var w rewriting
	for _, p := range pieces {
		part := within(need, p.first, Position(p.end.Load()))
		switch {
		case len(part) == 0:
			continue
		case !p.onDisk.Load():
			return false, nil // damaged
		}
		from := block
		if p != s {
			from = p.at()
		}
		if ok, err := w.gather(t, p, from, part); err != nil || !ok {
			return false, err
		}
	}
	if len(w.runs) == 0 {
		return false, nil
	}
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.deleted.Load() || s.gone.Load() || s.at() != block {
		return false, nil
	}
	moved, err := t.d.segments.AppendSome(block.First, int(block.Count), w.runs, w.frames, blockSections(s.first, w.beside, w.sums)...)
	if err != nil {
		return false, err
	}
	s.moved.Store(&moved)
	s.offsets.Store(nil)
	t.d.opened.forget(s)
	t.d.stale = append(t.d.stale, staleBlock{ref: block.Ref})
	return true, nil
}

// heldRanges returns which positions a block has.
func heldRanges(b segment.Block, held []segment.Run) []backlog.Range {
	if b.Held == 0 {
		return []backlog.Range{{First: Position(b.First), Last: end(b) - 1}}
	}
	return rangesOf(held)
}

func rangesOf(held []segment.Run) []backlog.Range {
	list := make([]backlog.Range, 0, len(held))
	for _, r := range held {
		list = append(list, backlog.Range{First: Position(r.First), Last: Position(r.First) + Position(r.Count) - 1})
	}
	return list
}

// pick returns those of some frames, which have the positions in held, that are needed, and their positions.
func pick(frames []byte, held, need []backlog.Range) (some []byte, runs []segment.Run) {
	for _, h := range held {
		for pos := h.First; pos <= h.Last; pos++ {
			f := protocol.FirstMessage(frames)
			frames = frames[len(f):]
			for len(need) > 0 && need[0].Last < pos {
				need = need[1:]
			}
			if len(need) == 0 {
				return some, runs
			}
			if need[0].First > pos {
				continue
			}
			some = append(some, f...)
			if k := len(runs) - 1; k >= 0 && Position(runs[k].First)+Position(runs[k].Count) == pos {
				runs[k].Count++
			} else {
				runs = append(runs, segment.Run{First: uint64(pos), Count: 1})
			}
		}
	}
	return some, runs
}
