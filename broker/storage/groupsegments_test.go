package storage

import (
	"slices"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// TestSegmentsOfGroups: each generation of a group has its own, other groups' and topics' of the node stay out of them, and a start leaves them
// alone: they are its group's.
func TestSegmentsOfGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 3)
		frame := protocol.AppendMessageHeader(nil, 1, 1, 1, 0)
		for _, at := range []struct{ group, generation, topic uint32 }{{1, 1, 7}, {1, 2, 7}, {1, 2, 8}, {2, 1, 7}} {
			store, list, err := n.k.GroupSegments(at.group).Open(at.generation, at.topic, "orders")
			if err != nil || len(list) > 0 {
				t.Fatal(list, err)
			}
			if _, err := store.Append(uint64(at.topic), 1, frame); err != nil {
				t.Fatal(err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.disk = vfs.NewFaulty(n.fs)
		n.reborn()
		if _, err := n.open(); err != nil {
			t.Fatal(err)
		}
		one := n.k.GroupSegments(1)
		generations, err := one.Generations()
		if err != nil || !slices.Equal(generations, []uint32{1, 2}) {
			t.Fatalf("generations %v: %v", generations, err)
		}
		topics, err := one.Topics(2)
		if err != nil || !slices.Equal(topics, []uint32{7, 8}) {
			t.Errorf("topics %v: %v", topics, err)
		}
		if _, list, err := one.Open(2, 8, "orders"); err != nil || len(list) != 1 || list[0].First != 8 {
			t.Errorf("blocks %v: %v", list, err)
		}
		for range 2 { // what is gone already is no error
			if err := one.Remove(2); err != nil {
				t.Error(err)
			}
		}
		generations, err = one.Generations()
		if err != nil || !slices.Equal(generations, []uint32{1}) {
			t.Errorf("generations %v: %v", generations, err)
		}
		if generations, err = n.k.GroupSegments(2).Generations(); err != nil || len(generations) != 1 {
			t.Errorf("of another group: %v: %v", generations, err)
		}
		if err := n.k.Abandon(); err != nil {
			t.Error(err)
		}
	})
}
