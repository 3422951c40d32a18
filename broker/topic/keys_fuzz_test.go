package topic

import (
	"slices"
	"testing"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
)

// FuzzSumsSection: whatever the sections of a block say of the keys of its messages, and whichever messages it has, each gets what is said of it, or
// none, and writing the block anew says the same.
func FuzzSumsSection(f *testing.F) {
	f.Add(journal.AppendSums(nil, []uint32{1, 0, 3}), []byte{0, 2, 1, 1})
	f.Add(journal.AppendSums(nil, []uint32{7}), []byte{5, 3})
	f.Add([]byte{1, 2, 3}, []byte{})
	f.Fuzz(func(t *testing.T, section, runs []byte) {
		const first = Position(1000)
		held, next, messages := []backlog.Range{}, first, 0
		for ; len(runs) > 1 && len(held) < 50; runs = runs[2:] { // a gap and a length
			r := backlog.Range{First: next + Position(runs[0]), Last: next + Position(runs[0]) + Position(runs[1])}
			held, next, messages = append(held, r), r.Last+2, messages+r.Len()
		}
		sums, err := journal.ParseSums(nil, section)
		if err != nil || len(held) == 0 || len(sums) > messages {
			return
		}
		all := spread(sums, first, int(next-1-first), held)
		i := 0
		for _, r := range held {
			for pos := r.First; pos <= r.Last; pos, i = pos+1, i+1 {
				if got, want := sumAt(all, first, pos), sumAt(sums, 0, Position(i)); got != want {
					t.Fatalf("message %d has %d, want %d", pos, got, want)
				}
			}
		}
		again := gathered(all, first, held)
		if len(sums) > 0 && (len(again) != messages || !slices.Equal(again[:len(sums)], sums)) {
			t.Errorf("written anew it says %v; it was %v", again, sums)
		}
	})
}
