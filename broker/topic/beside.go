package topic

import (
	"errors"
	"fmt"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// sectionProperties is the kind of the section of a segment's block that has what messages have beside their bodies.
const sectionProperties = 4

// maxBeside is how many bytes messages of one node may have beside their bodies before the next node begins: far less than a section.
const maxBeside = 1 << 20

// keepBeside keeps what messages, which were just appended to the tail, have beside their bodies.
func (d *logStore) keepBeside(first Position, list []journal.Beside) {
	s := d.tail
	before := s.besideBytes
	for _, m := range list {
		s.beside = append(s.beside, journal.Beside{Pos: first + m.Pos, Data: m.Data})
		s.besideBytes += len(m.Data)
	}
	d.addMemory(int64(s.besideBytes - before))
	if s.besideBytes > maxBeside {
		d.nodes.Close()
	}
}

// besideOf returns what a column of a Publish says, with positions that count from 0. It was checked when it was read.
func besideOf(column []byte) (list []journal.Beside) {
	_ = journal.EachOfColumn(column, journal.Range{Last: ^Position(0)}, func(m journal.Beside) { list = append(list, m) })
	return list
}

// besideSections returns the sections of a block whose first position is first.
func besideSections(first Position, list []journal.Beside) []segment.Section {
	if len(list) == 0 {
		return nil
	}
	return []segment.Section{{Kind: sectionProperties, Data: journal.AppendColumn(nil, first, list)}}
}

// readBeside returns what the messages of a block have beside their bodies.
func (d *logStore) readBeside(b segment.Block) (list []journal.Beside, err error) {
	sections, err := d.segments.ReadSections(b.Ref)
	if err != nil {
		return nil, err
	}
	for _, s := range sections {
		if s.Kind != sectionProperties {
			continue
		}
		within := journal.Range{First: Position(b.First), Last: end(b) - 1}
		if err := journal.EachOfColumn(s.Data, within, func(m journal.Beside) { list = append(list, m) }); err != nil {
			return nil, fmt.Errorf("%w: properties of the block of %v: %w", segment.ErrDamaged, b.Ref, err)
		}
	}
	return list, nil
}

// besideIn returns what those of some messages have whose positions are in sorted ranges.
func besideIn(list []journal.Beside, ranges []backlog.Range) (some []journal.Beside) {
	for _, m := range list {
		if journal.Holds(ranges, m.Pos) {
			some = append(some, m)
		}
	}
	return some
}

// besideOfNode returns what the messages of a node have beside their bodies. It reads the disk when they are not in memory. What is damaged
// is logged and missing; with an error it is to be tried again.
func (t *Topic) besideOfNode(s *stored) ([]journal.Beside, error) {
	for {
		t.pub.Lock()
		if s.node.InMemory() || !s.onDisk.Load() {
			list := slices.Clone(s.beside)
			t.pub.Unlock()
			return list, nil
		}
		block := s.at()
		t.pub.Unlock()
		if s.held.Load() != nil {
			list, _, err := t.sectionsHeld(s)
			return list, err
		}
		list, err := t.d.readBeside(block)
		switch {
		case errors.Is(err, segment.ErrGone) && s.at() != block:
			continue // it was written anew meanwhile
		case errors.Is(err, segment.ErrGone) && s.rewritten():
			return t.besideOfNode(s.of.Load())
		case errors.Is(err, segment.ErrGone) && t.hasLeft(s):
			return nil, nil
		case errors.Is(err, segment.ErrDamaged) || errors.Is(err, segment.ErrGone):
			t.registry.log.Error("what messages have beside their bodies is damaged and was lost", "topic", t.name, "block", block.Ref.String(),
				"error", err)
			return nil, nil
		}
		return list, err
	}
}

// findBeside returns what a message has beside its body, nil when it has nothing. The list is in order.
func findBeside(list []journal.Beside, pos Position) []byte {
	i, ok := slices.BinarySearchFunc(list, pos, func(m journal.Beside, pos Position) int {
		switch {
		case m.Pos < pos:
			return -1
		case m.Pos > pos:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return list[i].Data
}
