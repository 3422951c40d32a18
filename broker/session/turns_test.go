package session

import "testing"

// TestTurnsEndInAWait: a reader whose peer always has more to say waits through the poller now and then all the same, or
// nobody would ask that about other connections.
func TestTurnsEndInAWait(t *testing.T) {
	var turns turns
	row := 0
	for range 1000 {
		gave := turns.take()
		turns.judge(gave, true)
		if !gave {
			row = 0
			continue
		}
		if row++; row > maxRow {
			t.Fatalf("%d turns in a row", row)
		}
	}
}

// TestUselessTurnsAreRare: with a peer that never has anything to say at once, hardly a turn is given.
func TestUselessTurnsAreRare(t *testing.T) {
	var turns turns
	given := 0
	for range 100 * maxRest {
		gave := turns.take()
		turns.judge(gave, false)
		if gave {
			given++
		}
	}
	if given > 110 {
		t.Errorf("%d turns of no use in %d reads", given, 100*maxRest)
	}
}
