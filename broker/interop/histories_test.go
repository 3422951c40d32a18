package interop

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// TestHistoriesOfAReplicatedTopic: brokers of a replicated topic are killed, paused and stopped under stock clients; what these did and saw is
// what a list can have done that publishes append to, whole or not at all: nothing acknowledged is missing, nothing is shown that vanishes, the
// order is that of the publishes, and what comes again after its FIN is explained by a fault.
func TestHistoriesOfAReplicatedTopic(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.Lookup(t, "lookupd")
	m := foundMembers(t, "--lookupd-tcp-address="+lookup.TCP)
	for round := range roundsOr(t, 1) {
		c := newCrowd(t, m, fmt.Sprint("orders-", round), lookup.HTTP)
		c.more(t, 60)
		b := c.awaitLeader(t)
		c.through(t, "kill -9 of the leader,", b, func() { b.Kill(t) }, func() { b.Start(t) })
		b = c.awaitLeader(t)
		c.through(t, "SIGSTOP of the leader,", b, func() { b.Signal(t, syscall.SIGSTOP) }, func() { b.Signal(t, syscall.SIGCONT) })
		b = c.follower(t)
		c.through(t, "kill -9 of a follower,", b, func() { b.Kill(t) }, func() { b.Start(t) })
		b = c.awaitLeader(t)
		c.through(t, "a clean stop of the leader,", b, func() { b.Stop(t) }, func() { b.Start(t) })
		b = c.awaitLeader(t)
		c.through(t, "kill -9 of all,", b, func() {
			for _, b := range m.brokers {
				b.Kill(t)
			}
			time.Sleep(100 * time.Millisecond) // clients find nobody for a while: that is the fault
			for _, o := range m.brokers {
				o.Start(t)
			}
		}, func() {})
		c.judge(t)
	}
	for _, b := range m.brokers {
		b.Stop(t)
	}
}
