package topic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhatIsCancelledIsGoneForGood: a deferred message that was cancelled on one channel comes to that one by no rewind, and to others as ever; one that was
// cancelled wherever it was comes to no channel again, nor to one that is made later at a place. A restart changes nothing of that.
func TestWhatIsCancelledIsGoneForGood(t *testing.T) {
	for what, restarted := range map[string]bool{"running": false, "restarted": true} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &keptLog{}
				topic := mustTopic(t, durableRegistry(t, l), "t")
				for _, name := range []string{"c", "d"} {
					mustChannel(t, topic, name)
				}
				setTopicOptions(t, topic, `{"retain_time":"24h"}`)
				for i := range 4 {
					var b Batch
					b.Add(fmt.Appendf(nil, "m%d", i+1))
					if err := topic.PublishDeferred(&b, time.Hour); err != nil {
						t.Fatal(err)
					}
				}
				cancel := func(pos Position, channel *Channel, want ...string) {
					t.Helper()
					if from, err := topic.Cancel(pos, channel); err != nil || !slices.Equal(from, want) {
						t.Errorf("position %d was cancelled on %q, %v; want %q", pos, from, err, want)
					}
				}
				cancel(2, topic.LookupChannel("c"), "c")
				cancel(3, nil, "c", "d")
				if restarted {
					topic = recovered(t, l).Lookup("t")
				}
				time.Sleep(2 * time.Hour)
				again := func(name, want string) {
					t.Helper()
					if _, err := topic.LookupChannel(name).Rewind(Place{kind: atBeginning}, false); err != nil {
						t.Fatal(err)
					}
					if got := strings.Join(waiting(t, topic, name), " "); got != want {
						t.Errorf("%s reads %q again, want %q", name, got, want)
					}
				}
				again("c", "m1 m4")
				again("d", "m1 m2 m4")
				if _, made, _, err := topic.ChannelAt("e", Place{kind: atBeginning}); err != nil || !made {
					t.Fatal(err)
				}
				if got := strings.Join(waiting(t, topic, "e"), " "); got != "m1 m2 m4" {
					t.Errorf("a channel that is made at the beginning gets %q", got)
				}
				seen, err := topic.Browse(t.Context(), Look{From: 1, Limit: 10})
				if err != nil || len(seen.Messages) != 3 {
					t.Errorf("%d messages are shown, %v", len(seen.Messages), err)
				}
			})
		})
	}
}
