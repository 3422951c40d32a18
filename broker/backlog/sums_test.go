package backlog

import "testing"

// TestSumsGrowUnderAReader: a queue that reads along while batches of all sizes come learns the key of every message, also of those for which
// the list that it has seen had room by chance.
func TestSumsGrowUnderAReader(t *testing.T) {
	for behind := range 6 {
		var tail Tail
		var q Queue
		q.SetKeyed(true)
		next, read := Position(1), Position(1)
		for i := range 300 {
			var frames []byte
			var sums []uint32
			count := 1 + i%5
			for k := range count {
				frames = appendMessage(frames, 1, 0)
				sums = append(sums, uint32(next)+uint32(k))
			}
			at, _ := tail.Append(frames)
			at = tail.Note(at, next, count)
			tail.NoteSums(at, sums)
			q.Add(at, count)
			next += Position(count)
			for q.Len() > behind && q.Cold() == nil {
				if got := q.Key(); got != uint32(read) {
					t.Fatalf("%d behind: message %d has key %d", behind, read, got)
				}
				q.Next()
				read++
			}
		}
	}
}
