package topic

import (
	"errors"
	"sort"
	"sync"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/protocol"
)

// The archive: history that is only kept. A file of segments whose blocks nobody needs is one node of the table, however many blocks it has:
// so a terabyte costs some megabytes of memory, and a start looks into none of it. It waits, is pinned and goes as a whole, as any
// node. Who reads there opens it: he gets its blocks, which are looked up in the file, as pieces that are read like nodes and are in no table.

// isFile reports whether the node is a file as a whole.
func (s *stored) isFile() bool { return s.onDisk.Load() && s.held.Load() == nil && s.at().Ref.Whole() }

// openFiles are files of a topic whose pieces are remembered, the one used last comes last.
type openFiles struct {
	mu   sync.Mutex
	list []openFile // guarded by mu
}

type openFile struct {
	s      *stored
	pieces []*stored
}

// manyOpen is of how many files the pieces are remembered, beside one for each channel.
const manyOpen = 4

// get returns the pieces of a file, nil when they are not remembered.
func (o *openFiles) get(s *stored) []*stored {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, f := range o.list {
		if f.s == s {
			copy(o.list[i:], o.list[i+1:])
			o.list[len(o.list)-1] = f
			return f.pieces
		}
	}
	return nil
}

// put remembers the pieces of a file, and forgets those of others when there are many.
func (o *openFiles) put(s *stored, pieces []*stored, many int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, openFile{s, pieces})
	for len(o.list) > many {
		o.list[0] = openFile{}
		o.list = o.list[1:]
	}
}

// forget forgets the pieces of a file.
func (o *openFiles) forget(s *stored) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, f := range o.list {
		if f.s == s {
			o.list = append(o.list[:i:i], o.list[i+1:]...)
			return
		}
	}
}

// pieces returns what a node is read in: itself, or the blocks of its file; nothing when it has left. It may read the disk.
func (t *Topic) pieces(s *stored) ([]*stored, error) {
	if !s.isFile() {
		return []*stored{s}, nil
	}
	if list := t.d.opened.get(s); list != nil {
		return list, nil
	}
	blocks, err := t.d.segments.Blocks(s.at().Ref.File)
	switch {
	case err == nil:
	case !s.isFile(): // it was written anew meanwhile
		return []*stored{s}, nil
	case (errors.Is(err, segment.ErrGone) || errors.Is(err, segment.ErrClosed)) && t.hasLeft(s):
		return nil, nil
	case errors.Is(err, segment.ErrGone): // somebody has removed the file
		t.registry.log.Error("messages on disk are gone and were lost", "topic", t.name, "file", s.at().Ref.String(), "error", err)
		return []*stored{s.hole(s.first, Position(s.end.Load()))}, nil
	default:
		t.cannotRead(s.at().Ref, err)
		return nil, err
	}
	list := s.split(blocks)
	if lost := holes(list); lost > 0 {
		t.registry.log.Error("messages on disk are damaged and were lost", "topic", t.name, "file", s.at().Ref.String(), "messages", lost)
	}
	t.d.opened.put(s, list, manyOpen+len(t.Channels()))
	return list, nil
}

// split returns the pieces of a file that has these blocks. What is in none of them is lost, and a piece without a block.
func (s *stored) split(blocks []segment.Block) (list []*stored) {
	next, behind := s.first, Position(s.end.Load())
	for _, b := range blocks {
		if Position(b.First) < next || end(b) > behind {
			continue // of what was not kept any more, or of an append that failed
		}
		if next < Position(b.First) {
			list = append(list, s.hole(next, Position(b.First)))
		}
		p := &stored{node: backlog.NewCold(nil, Position(b.First), int(b.Count), int(b.Ref.Length)), first: Position(b.First), block: b}
		p.of.Store(s)
		p.end.Store(uint64(end(b)))
		p.onDisk.Store(true)
		list = append(list, p)
		next = end(b)
	}
	if next < behind {
		list = append(list, s.hole(next, behind))
	}
	return list
}

// holes returns how many messages pieces of a file lack that have no block.
func holes(list []*stored) (lost int) {
	for _, p := range list {
		if !p.onDisk.Load() {
			lost += p.node.Count()
		}
	}
	return lost
}

// hole returns a piece of a file that has nothing.
func (s *stored) hole(first, end Position) *stored {
	p := &stored{node: backlog.NewCold(nil, first, int(end-first), 0), first: first}
	p.of.Store(s)
	p.end.Store(uint64(end))
	return p
}

// rewritten reports whether a piece is of a file that was written anew: then that node has its messages.
func (s *stored) rewritten() bool {
	of := s.of.Load()
	return of != nil && !of.isFile()
}

// left reports whether nobody needs the node, or the file that it is a part of, any more.
func (s *stored) left() bool {
	if of := s.of.Load(); of != nil {
		return of.gone.Load()
	}
	return s.gone.Load()
}

// piece returns the node, or the piece of one, that holds a message; nil when there is none. It may read the disk.
func (t *Topic) piece(pos Position) (*stored, error) {
	s := t.d.table.holder(pos)
	if s == nil || !s.isFile() {
		return s, nil
	}
	list, err := t.pieces(s)
	i := sort.Search(len(list), func(i int) bool { return Position(list[i].end.Load()) > pos })
	if i == len(list) {
		return nil, err
	}
	return list[i], nil
}

// archiveLocked has each file of segments whose blocks are all that follow each other, and nobody needs, be one node. Who has taken nodes out of
// the table must not take them for what is there: it is for a checkpoint, before it looks. Topic.pub is held.
func (t *Topic) archiveLocked() {
	d := t.d
	floor := d.retain.from()
	if floor == 0 || d.segments == nil {
		return
	}
	waiting := t.waitingLocked()
	var groups [][]*stored
	for _, s := range d.table.from(floor) {
		if !t.restsLocked(s, waiting) {
			groups = append(groups, nil) // what follows does not follow those before it
			continue
		}
		k := len(groups) - 1
		if k < 0 || !s.follows(groups[k]) {
			groups = append(groups, nil)
			k++
		}
		groups[k] = append(groups[k], s)
	}
	d.table.mu.Lock()
	defer d.table.mu.Unlock()
	for _, list := range groups {
		if len(list) > 0 && d.segments.Join(list[0].at().Ref.File, len(list)) {
			t.joinLocked(list)
		}
	}
	d.table.packLocked()
}

// restsLocked reports whether a node is on disk as it is, and nobody needs it.
func (t *Topic) restsLocked(s *stored, waiting ranges) bool {
	d := t.d
	return s.onDisk.Load() && !s.isFile() && s != d.tail && s.node != d.nodes.Last() && !s.node.InMemory() && s.at().Held == 0 &&
		d.retain.keeps(s) && Position(s.end.Load()) <= d.watermark.position()+1 && !waiting.needs(s)
}

// follows reports whether a node's block is behind those of some nodes, in their file.
func (s *stored) follows(list []*stored) bool {
	if len(list) == 0 {
		return true
	}
	last := list[len(list)-1]
	return s.at().Ref.File == last.at().Ref.File && s.at().Ref.Offset > last.at().Ref.Offset && Position(last.end.Load()) == s.first
}

// joinLocked makes one node of those that are all that is needed of a file.
func (t *Topic) joinLocked(list []*stored) {
	first, last := list[0], list[len(list)-1]
	b := segment.Block{First: uint64(first.first), Ref: segment.Ref{File: first.at().Ref.File}}
	ids := first.ids
	for _, s := range list {
		b.Count += s.at().Count
		b.Ref.Length += s.at().Ref.Length
		if ids.low, ids.high = min(ids.low, s.ids.low), max(ids.high, s.ids.high); s.ids == (idSpan{}) || ids.low == 0 {
			ids = idSpan{}
		}
	}
	s := t.d.table.joinLocked(list, backlog.NewCold(nil, first.first, int(b.Count), int(b.Ref.Length)))
	s.ids, s.block = ids, b
	s.oldest.Store(first.oldest.Load())
	s.newest.Store(last.newest.Load())
	s.onDisk.Store(true)
	t.d.onDisk.Add(int64(1 - len(list)))
	t.registry.onDisk.Add(int64(1 - len(list)))
}

// fileLocked returns what a checkpoint says of a file.
func (t *Topic) fileLocked(s *stored) journal.File {
	b := s.at()
	return journal.File{Node: journal.Node{First: s.first, Count: b.Count, File: b.Ref.File, Length: b.Ref.Length},
		Size: uint32(t.d.segments.Size(b.Ref.File)), Oldest: s.oldest.Load(), Newest: s.newest.Load(), Low: uint64(s.ids.low), High: uint64(s.ids.high)}
}

// restoreFile makes the node of a file that an earlier life has kept as a whole.
func (b *builder) restoreFile(f *journal.File) {
	t := b.topic
	t.d.nodes.Close()
	n := backlog.NewCold(t.d.nodes.Last(), f.First, int(f.Count), int(f.Length))
	t.d.nodes.After(n)
	s := t.d.table.add(n)
	s.block = segment.Block{First: uint64(f.First), Count: f.Count, Ref: segment.Ref{File: f.File, Length: f.Length}}
	s.ids = idSpan{protocol.MessageID(f.Low), protocol.MessageID(f.High)}
	s.oldest.Store(f.Oldest)
	s.newest.Store(f.Newest)
	t.setOnDisk(s)
}
