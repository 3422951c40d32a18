package storage

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// TestMessagesOfKeptFilesAreFoundAgain: ids in a file that is known as a whole are in no order, as those that another broker gave. Each message is found
// by its id, the first time and when all of them were looked for before.
func TestMessagesOfKeptFilesAreFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		var ids []protocol.MessageID
		for block := range 60 {
			in := w.topic().BeginImport(fmt.Sprint("queue ", block), "source", nil)
			for i := range 5 {
				id := protocol.MessageID(1_000_000 + block*7919%60*100 + i)
				ids = append(ids, id)
				if err := in.Add(time.Now().UnixNano(), 0, id, []byte(strings.Repeat("x", 400))); err != nil {
					t.Fatal(err)
				}
			}
			if err := in.Finish(); err != nil {
				t.Fatal(err)
			}
			if err := in.Forget(); err != nil {
				t.Fatal(err)
			}
			w.consume()
			w.rest(1) // so that blocks are small
		}
		w.rest(3)
		w.again()
		if files, nodes := len(w.files()), int(w.r.OnDisk()); files < 10 || nodes > files+4 {
			t.Fatalf("%d files have %d entries", files, nodes)
		}
		for turn := range 2 {
			for i, id := range ids {
				if pos, err := w.topic().FindMessage(id); err != nil || pos != topic.Position(i+1) {
					t.Fatalf("turn %d: message %d is found at %d, %v", turn, i+1, pos, err)
				}
			}
		}
		w.end()
	})
}
