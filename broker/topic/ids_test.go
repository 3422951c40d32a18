package topic

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol"
)

// fewIDs is a store that has no more ids than fit into a message's.
type fewIDs struct{ bound uint64 }

func (f *fewIDs) Bound() uint64 { return f.bound }

func (f *fewIDs) Reserve(upTo uint64) error {
	if upTo > protocol.MaxSequence+1 {
		return errors.New("there are no more")
	}
	f.bound = max(f.bound, upTo)
	return nil
}

// TestIDsWithAClockThatIsFarAhead: a start with a clock of any year has ids, all of its own, and those that follow with clocks that are right again have, too.
func TestIDsWithAClockThatIsFarAhead(t *testing.T) {
	store, seen := &fewIDs{}, map[protocol.MessageID]bool{}
	for _, year := range []int{2026, 2086, 2090, 2026, 2091, 2092, 2100, 2161, 2250, 2026, 1970, 2103} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.Date(year, 7, 1, 0, 0, 0, 0, time.UTC)))
			s := newSequence(3, store, func(func()) bool { return false }, nil)
			for range 1000 {
				first, err := s.take(idReserve / 100)
				if err != nil {
					t.Fatalf("%d: %v", year, err)
				}
				if seen[first] {
					t.Fatalf("%d: id %v is given out twice", year, first)
				}
				seen[first] = true
			}
		})
	}
	if room := protocol.MaxSequence - store.bound; room < 1<<49 {
		t.Errorf("%d ids are left", room)
	}
}
