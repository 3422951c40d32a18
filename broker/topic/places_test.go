package topic

import (
	"testing"

	"brokerd/broker/backlog"
	"brokerd/broker/inflight"
	"brokerd/protocol"
)

// TestPlacesAreLearntOnce holds that a message of which only the position is known is found in a node that was read once.
func TestPlacesAreLearntOnce(t *testing.T) {
	var frames []byte
	var offs []uint32
	for i := range 4 {
		offs = append(offs, uint32(len(frames)))
		frames = protocol.AppendMessageHeader(frames, 1, 1, protocol.MessageID(100*i), 10*i)
		frames = append(frames, make([]byte, 10*i)...)
	}
	var table nodeTable
	s := table.add(backlog.NewCold(nil, 7, 4, len(frames)))
	if s.locate(&inflight.Place{Pos: 7, Off: inflight.NoOffset}) {
		t.Error("found in a node that was never read")
	}
	s.learn(frames)
	for i := range 4 {
		m := inflight.Place{Pos: Position(7 + i), Off: inflight.NoOffset}
		if !s.locate(&m) || m.Off != offs[i] {
			t.Errorf("%d is found at %d, wanted %d", m.Pos, m.Off, offs[i])
		}
	}
	for _, pos := range []Position{0, 6, 11, 41} {
		if m := (inflight.Place{Pos: pos, Off: inflight.NoOffset}); s.locate(&m) {
			t.Errorf("%d is found at %d and is not there", pos, m.Off)
		}
	}
}
