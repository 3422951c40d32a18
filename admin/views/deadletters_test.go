package views

import (
	"reflect"
	"testing"

	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
)

// TestDeadLettersOfAChannel: what nodes tell is added up; nodes that tell nothing, and channels without dead letters, tell nothing.
func TestDeadLettersOfAChannel(t *testing.T) {
	answer := func(node string, c httpapi.Channel) cluster.Answer {
		c.ChannelName = "c"
		return cluster.Answer{Node: &cluster.Node{ID: node}, Stats: httpapi.Stats{Topics: []httpapi.Topic{{TopicName: "t", Channels: []httpapi.Channel{c}}}}}
	}
	plain := answer("a", httpapi.Channel{})
	if got := deadLetters([]cluster.Answer{plain, {Node: &cluster.Node{ID: "silent"}}}, "t", "c"); got != nil {
		t.Errorf("a channel without dead letters has %+v", got)
	}
	got := deadLetters([]cluster.Answer{plain,
		answer("b", httpapi.Channel{DeadLetterTopic: "graves", WaitingForTarget: 2, TargetRefuses: "full", Redrive: &httpapi.Redrive{Running: true, Moved: 3, InFlight: 1}}),
		answer("c", httpapi.Channel{DeadLetterTopic: "graves", Redrive: &httpapi.Redrive{Moved: 4, Error: "no disk"}}),
	}, "t", "c")
	want := &DeadLetters{Topics: []string{"graves"}, Waiting: 2, Refusals: []string{"b: full"}, Redrives: 2, Running: []string{"b"}, Moved: 7, InFlight: 1,
		Errors: []string{"c: no disk"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
