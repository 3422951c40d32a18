package channel

import "testing"

// TestRoomOfASnapshot: whether much, little or no room was made before, and more or fewer messages are out then, a snapshot has each of them once,
// in order.
func TestRoomOfASnapshot(t *testing.T) {
	for _, room := range []int{0, 1, outPiece - 1, outPiece, 3*outPiece + 5} {
		for _, out := range []int{0, 1, 16, 17, outPiece, 2*outPiece + 20, 4 * outPiece} {
			s := Snapshot{room: RoomFor(room)}
			if n := len(s.room); n != room/outPiece {
				t.Errorf("%d pieces for %d messages", n, room)
			}
			for i := range out {
				s.add(Position(i+1), uint16(i))
			}
			n := 0
			for _, piece := range s.out {
				for _, m := range piece {
					if n++; m.pos != Position(n) || m.attempts != uint16(n-1) {
						t.Fatalf("room for %d, %d out: message %d is %+v", room, out, n, m)
					}
				}
			}
			if n != out {
				t.Errorf("room for %d: %d of %d messages", room, n, out)
			}
		}
	}
}
