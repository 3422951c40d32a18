package views

import (
	"errors"
	"math"
	"testing"
	"time"

	"brokerd/admin/cluster"
	"brokerd/admin/history"
	"brokerd/protocol/httpapi"
)

// answered is what two brokers tell of a channel and its consumers at a moment: each finishes at its own pace.
func answered(at time.Time, finished ...uint64) []cluster.Answer {
	var answers []cluster.Answer
	for i, n := range finished {
		c := httpapi.Channel{ChannelName: "c", MessageCount: n + 10, Depth: 10, ClientCount: 1, Clients: []httpapi.Client{{
			RemoteAddress: "10.0.0.1:1", Hostname: "app", FinishCount: n, MessageCount: n, ConnectTime: at.Unix() - 5}}}
		answers = append(answers, cluster.Answer{Node: &cluster.Node{ID: string(rune('a' + i)), Known: true}, At: at, Known: true,
			Stats: httpapi.Stats{Topics: []httpapi.Topic{{TopicName: "t", MessageCount: n + 10, Channels: []httpapi.Channel{c}}}}})
	}
	return answers
}

// TestConsumersAndNodesTellOfOneMoment: whatever the last round found, what the consumers on a node finish is what the channel finishes there.
func TestConsumersAndNodesTellOfOneMoment(t *testing.T) {
	m := New(cluster.New(cluster.Config{}), 0)
	at := time.Unix(1700000000, 0)
	round := &cluster.NodeChannel{Channel: &httpapi.Channel{ChannelName: "c", Depth: 99}, RateOut: 12345}
	for i, finished := range [][2]uint64{{100, 100}, {300, 100}, {300, 500}} { // in turn on one node and on the other
		answers := answered(at.Add(time.Duration(2*i)*time.Second), finished[:]...)
		m.clients("consumers", answered(at.Add(time.Duration(2*i)*time.Second-700*time.Millisecond), 0, 0), math.MaxInt) // another page, another moment
		clients, _ := m.clients("channel", answers, math.MaxInt)
		for j := range answers {
			f := m.channelFigures(&answers[j], "t", "c", cluster.NodeChannelRef{Node: answers[j].Node, NodeChannel: round})
			if i == 0 {
				if f.RateOut != 12345 || clients[j].Rated {
					t.Errorf("at first: %v/s of the node, of the consumer known: %t", f.RateOut, clients[j].Rated)
				}
				continue
			}
			if f.RateOut != clients[j].FinishRate || f.Depth != 10 || clients[j].Node != answers[j].Node.ID {
				t.Errorf("look %d, node %d: %v/s of the node, %v/s of its consumer, depth %d", i, j, f.RateOut, clients[j].FinishRate, f.Depth)
			}
		}
	}
	late := answered(at, 1)
	late[0].Err = errors.New("late")
	if f := m.channelFigures(&late[0], "t", "c", cluster.NodeChannelRef{Node: late[0].Node, NodeChannel: round}); f.Depth != 99 || f.RateOut != 12345 {
		t.Errorf("without an answer of the moment: %+v", f)
	}
}

// TestAConsumerThatAnswersNothingIsTold: at once when it never did, after a while when it stopped, and not while it has nothing.
func TestAConsumerThatAnswersNothingIsTold(t *testing.T) {
	now := time.Unix(1700000000, 0)
	for name, test := range map[string]struct {
		client  httpapi.Client
		watched time.Duration
		want    time.Duration
	}{
		"new":               {httpapi.Client{InFlightCount: 20, ReadyCount: 20, ConnectTime: now.Unix() - 10}, 0, 0},
		"never did":         {httpapi.Client{InFlightCount: 20, ReadyCount: 20, ConnectTime: now.Unix() - 90}, 0, 90 * time.Second},
		"has nothing":       {httpapi.Client{ReadyCount: 20, ConnectTime: now.Unix() - 90}, time.Hour, 0},
		"answered of late":  {httpapi.Client{InFlightCount: 20, FinishCount: 5, ConnectTime: now.Unix() - 90}, 20 * time.Second, 0},
		"stopped":           {httpapi.Client{InFlightCount: 20, FinishCount: 5, ConnectTime: now.Unix() - 90}, 40 * time.Second, 40 * time.Second},
		"only requeues":     {httpapi.Client{InFlightCount: 20, RequeueCount: 5, ConnectTime: now.Unix() - 90}, 0, 0},
		"no time is told":   {httpapi.Client{InFlightCount: 20}, 0, 0},
		"waits for nothing": {httpapi.Client{}, time.Hour, 0},
	} {
		if got := stuckFor(&test.client, now, now.Add(-test.watched)); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	if got := timedOut(&httpapi.Client{MessageCount: 10, FinishCount: 3, RequeueCount: 2, InFlightCount: 1}); got != 4 {
		t.Errorf("%d timed out", got)
	}
	if got := timedOut(&httpapi.Client{MessageCount: 1, FinishCount: 3}); got != 0 {
		t.Errorf("%d timed out of counters that do not fit", got)
	}
}

// TestTheSlowestChannelDecides what a topic is said to deliver: two channels that finish nothing are not made up for by one that does.
func TestTheSlowestChannelDecides(t *testing.T) {
	node := &cluster.Node{ID: "a", Known: true}
	topic := &cluster.Topic{Name: "t", Sum: cluster.Figures{RateIn: 37, RateOut: 38}, On: []cluster.NodeTopicRef{{Node: node}}, Channels: []*cluster.Channel{
		{Name: "fast", Sum: cluster.Figures{RateOut: 38}}, {Name: "idle"}, {Name: "stuck", Sum: cluster.Figures{Depth: 500}}}}
	s := &State{View: &cluster.View{Nodes: []*cluster.Node{node}, Topics: []*cluster.Topic{topic}}}
	if r := s.row(topic); r.Slowest != "stuck" || r.SlowestOut != 0 || r.SlowestDepth != 500 || r.RateOut != 38 {
		t.Errorf("row %+v", r)
	}
	if d := s.overview().Totals.Deepest; d != (Deepest{"t", "stuck", 500}) {
		t.Errorf("deepest %+v", d)
	}
	m := New(cluster.New(cluster.Config{}), 1<<20)
	for i := range 3 {
		m.record(&cluster.View{At: time.Unix(1700000000+int64(i)*5, 0), Nodes: s.Nodes, Topics: s.Topics})
	}
	if mean := m.History().Mean(history.Key{Of: "topic", Topic: "t"}, 0, 1, time.Minute, 0); mean != 0 {
		t.Errorf("the topic's chart has %v/s", mean)
	}
}

// TestWhatDoesNotAnswerHasAGap: no point is recorded for what nothing is known of, neither of a rate nor of a depth, and not for the whole
// either when no node answers.
func TestWhatDoesNotAnswerHasAGap(t *testing.T) {
	node := &cluster.Node{ID: "a", Known: true, Stale: true, Sum: cluster.Figures{Depth: 7}}
	topic := &cluster.Topic{Name: "t", Sum: cluster.Figures{Depth: 7}, On: []cluster.NodeTopicRef{{Node: node}},
		Channels: []*cluster.Channel{{Name: "c", On: []cluster.NodeChannelRef{{Node: node}}}}}
	m := New(cluster.New(cluster.Config{}), 1<<20)
	for i := range 3 {
		m.record(&cluster.View{At: time.Unix(1700000000+int64(i)*5, 0), Nodes: []*cluster.Node{node}, Topics: []*cluster.Topic{topic}})
	}
	for _, key := range []history.Key{{Of: "total"}, {Of: "node", Node: "a"}, {Of: "topic", Topic: "t"}, {Of: "channel", Topic: "t", Channel: "c"}} {
		for series := range len(seriesOfThing) {
			if mean := m.History().Mean(key, 0, series, time.Minute, 0); !math.IsNaN(mean) {
				t.Errorf("%+v has %v in series %d", key, mean, series)
			}
		}
	}
}
