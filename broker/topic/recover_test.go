package topic

import (
	"encoding/json"
	"testing"

	"brokerd/diskqueue/journal"
)

// TestHistoryThatWentEarlyIsNotPromised: files of segments went while a topic was to keep less and the log could not say so. What is kept begins
// behind them.
func TestHistoryThatWentEarlyIsNotPromised(t *testing.T) {
	s := journal.NewState()
	own := &journal.Channel{Offered: 12, After: 12}
	nodes := []journal.Node{{First: 1, Count: 4, File: 1}, {First: 5, Count: 4, File: 2}, {First: 9, Count: 4, File: 3}}
	s.Topics[1] = &journal.Topic{ID: 1, Name: "t", Next: 13, Floor: 3, Options: json.RawMessage(`{"retain_time":"1h"}`), Nodes: nodes, Channels: []*journal.Channel{own}}
	v := NewRecovery(s)
	v.Early[1] = []uint32{2}
	r := durableRegistry(t, &keptLog{})
	if err := r.Recover(v); err != nil {
		t.Fatal(err)
	}
	if from := r.Lookup("t").Kept().From; from != 9 {
		t.Errorf("it keeps messages from %d on", from)
	}
}
