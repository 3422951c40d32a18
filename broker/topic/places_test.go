package topic

import (
	"testing"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/protocol"
)

// TestPlacesAreLearntOnce holds that a message of which only the id is known is found in a node that was read once, whether or
// not ids follow each other.
func TestPlacesAreLearntOnce(t *testing.T) {
	for _, ids := range [][]protocol.MessageID{{7, 8, 9, 10}, {7, 9, 12, 40}} {
		var frames []byte
		var offs []uint32
		for i, id := range ids {
			offs = append(offs, uint32(len(frames)))
			frames = protocol.AppendMessageHeader(frames, 1, 1, id, 10*i)
			frames = append(frames, make([]byte, 10*i)...)
		}
		s := &stored{node: backlog.NewCold(nil, 100, ids[0], ids[len(ids)-1], len(ids), len(frames))}
		if s.locate(&inflight.Shelved{ID: ids[0]}) {
			t.Error("found in a node that was never read")
		}
		s.learn(frames)
		for i, id := range ids {
			m := inflight.Shelved{ID: id, Off: unknown}
			if !s.locate(&m) || m.Off != offs[i] || m.Index != uint16(i) {
				t.Errorf("%v: %d is found at %d, number %d; wanted %d, %d", ids, id, m.Off, m.Index, offs[i], i)
			}
		}
		for _, id := range []protocol.MessageID{0, 6, 11, 41} {
			if m := (inflight.Shelved{ID: id}); s.locate(&m) && ids[m.Index] != id {
				t.Errorf("%v: %d is found as number %d", ids, id, m.Index)
			}
		}
	}
}
