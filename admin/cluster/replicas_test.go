package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/admin/fakes"
	"brokerd/protocol/httpapi"
)

// replica is what a broker tells of a replicated topic.
func replica(role string, depth int64) httpapi.Topic {
	t := topic("t", "x", depth, 5)
	t.Role = role
	if role == follower {
		t = *following(&NodeTopic{Topic: &t, Channels: []NodeChannel{{Channel: &t.Channels[0]}}}).Topic
	}
	return t
}

// TestAReplicatedTopicIsCountedOnce, also while its last leader, which is gone, and its next one both have said that they lead it; and who is gone has
// nothing that is missed.
func TestAReplicatedTopicIsCountedOnce(t *testing.T) {
	var brokers []*fakes.Broker
	for i, role := range []string{leader, follower, follower} {
		b := fakes.NewBroker(t, string(rune('a'+i)))
		b.Stats.Topics = []httpapi.Topic{replica(role, 1), topic("u", "y", 1, 6)}
		brokers = append(brokers, b)
	}
	l := fakes.NewLookup(t, brokers...)
	c := start(t, byLookups(l))
	depths := func(v *View) (all, ofGone int64) {
		return v.Topic("t").Sum.Depth, v.Node(brokers[0].Address()).Sum.Depth
	}
	if all, _ := depths(c.View()); all != 11 {
		t.Fatalf("%d messages wait in all", all)
	}
	brokers[0].Kill()
	brokers[1].Change(func(b *fakes.Broker) { b.Stats.Topics[0] = replica(leader, 2) })
	var v *View
	await(t, c, "the second leader counts and the first one does not", func(now *View) bool {
		v = now
		all, ofGone := depths(v)
		return v.Node(brokers[0].Address()).Stale && all == 22 && ofGone == 11 // of u
	})
	if f := v.Topic("t").Channel("x"); f.Sum.Depth != 20 || len(f.On) != 3 {
		t.Errorf("the channel has %d messages on %d nodes", f.Sum.Depth, len(f.On))
	}
	if role := v.Node(brokers[0].Address()).Topic("t").Role; role != follower {
		t.Errorf("who is gone is shown as %s", role)
	}
	if _, err := c.Tombstone(t.Context(), brokers[2].Address(), "t"); !errors.Is(err, ErrReplicated) || len(brokers[2].Acts()) > 0 {
		t.Errorf("deleted on one broker it would be deleted on all: %v", err)
	}
}

// TestOneReplicaIsAskedForAll: an act and a look at messages go to the leader, or to another replica while that is gone; topics of one broker are not
// concerned by that.
func TestOneReplicaIsAskedForAll(t *testing.T) {
	of := func(role string, stale bool, at time.Time) *Node {
		n := &Node{ID: role, Stale: stale, At: at}
		if role != "" {
			r := replica(role, 0)
			n.Topics = []*NodeTopic{{Topic: &r}}
		}
		return n
	}
	now := time.Now()
	leads, follows, gone, other := of(leader, false, now), of(follower, false, now), of(leader, true, now.Add(-time.Minute)), of("", false, now)
	local := of(leader, false, now)
	local.Topics[0].Role = ""
	for name, test := range map[string]struct{ nodes, want []*Node }{
		"the leader":             {[]*Node{follows, leads, gone}, []*Node{leads}},
		"no leader":              {[]*Node{gone, follows}, []*Node{follows}},
		"nobody answers":         {[]*Node{gone}, []*Node{gone}},
		"not replicated":         {[]*Node{local, other}, []*Node{local, other}},
		"one in the way as well": {[]*Node{follows, local, leads}, []*Node{local, leads}},
	} {
		if got := speaking(test.nodes, "t"); !slices.Equal(got, test.want) {
			var names []string
			for _, n := range got {
				names = append(names, n.ID)
			}
			t.Errorf("%s: asked are %s", name, strings.Join(names, ", "))
		}
	}
}
