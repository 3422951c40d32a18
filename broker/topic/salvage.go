package topic

import (
	"fmt"
	"maps"
	"slices"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// Salvage gives topics back what their segments hold and neither the checkpoint nor the log speaks of, as a piece of those is missing.
// It goes between the last record and Recover, when somebody accepts what is lost: messages that were finished may come again.
func (v *Recovery) Salvage() error {
	for _, id := range slices.Sorted(maps.Keys(v.State.Topics)) {
		if err := v.salvage(v.State.Topics[id]); err != nil {
			return fmt.Errorf("topic %s: %w", v.State.Topics[id].Name, err)
		}
	}
	v.State.EndStubs()
	return nil
}

func (v *Recovery) salvage(t *journal.Topic) error {
	found, err := v.open(v.Segments, t.ID)
	if err != nil {
		return err
	}
	for i, blk := range found.list {
		if nodeOf(found.nodes, Position(blk.First)) >= 0 {
			continue
		}
		held, err := found.positions(blk)
		if err != nil {
			return err
		}
		lacked := t.Unspoken(held)
		if len(lacked) == 0 || !slices.Equal(lacked, held) && !found.isSound(i) { // the log has the others
			continue
		}
		n := journal.Node{First: Position(blk.First), Count: blk.Count, File: blk.Ref.File, Offset: blk.Ref.Offset, Length: blk.Ref.Length}
		t.Found(n, lacked)
		found.adopt(n)
		for _, r := range lacked {
			v.salvaged[t.ID] += r.Len()
		}
	}
	return nil
}

// Salvaged returns how many messages Salvage has found of a topic.
func (v *Recovery) Salvaged(topic uint32) int { return v.salvaged[topic] }

// positions returns which positions a block has.
func (b *blocks) positions(blk segment.Block) (list []journal.Range, err error) {
	if blk.Held == 0 {
		return []journal.Range{{First: Position(blk.First), Last: end(blk) - 1}}, nil
	}
	_, runs, _, err := b.store.ReadHeld(blk, nil)
	for _, r := range runs {
		list = append(list, journal.Range{First: Position(r.First), Last: Position(r.First) + Position(r.Count) - 1})
	}
	return list, err
}
