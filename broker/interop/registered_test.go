package interop

import (
	"fmt"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// producersOf returns how many brokers a lookup names for a topic.
func producersOf(t *testing.T, lookup *cmdtest.Process, topic string) int {
	t.Helper()
	var answer httpapi.Lookup
	if err := lookup.Ask(t, "/lookup?topic="+topic, &answer); err != nil {
		return 0
	}
	return len(answer.Producers)
}

// TestAllReplicasRegisterTheTopic: lookups name all brokers that have a replica, or the leader alone when the topic says so; with its channels. As many
// are named once the leader has died as live, and none when a topic is gone.
func TestAllReplicasRegisterTheTopic(t *testing.T) {
	lookup := cmdtest.Lookup(t, "lookupd")
	m := foundMembers(t, "--lookupd-tcp-address="+lookup.TCP)
	named := func(topic string, want int) {
		t.Helper()
		cmdtest.Eventually(t, fmt.Sprintf("%d brokers are named for %s", want, topic), time.Minute, func() bool { return producersOf(t, lookup, topic) == want })
	}
	carryOut(t, m.brokers[0], "/topic/create?topic=orders&replicas=3")
	carryOut(t, m.brokers[1], "/topic/create?topic=bills&replicas=3&serve=leader")
	named("orders", 3)
	named("bills", 1)
	carryOut(t, m.brokers[2], "/channel/create?topic=orders&channel=c")
	cmdtest.Eventually(t, "the channel is named", time.Minute, func() bool {
		var answer httpapi.Channels
		return lookup.Ask(t, "/channels?topic=orders", &answer) == nil && len(answer.Channels) == 1
	})
	leader := m.awaitServed(t, "orders", nil)
	leader.Kill(t)
	named("orders", 2)
	named("bills", 1)
	leader.Start(t)
	named("orders", 3)
	m.awaitWhole(t, m.brokers)
	carryOut(t, m.brokers[0], "/topic/delete?topic=orders")
	named("orders", 0)
	for _, b := range m.brokers {
		b.Stop(t)
	}
}
