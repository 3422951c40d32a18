package brokerctl

import (
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// TestCluster: three brokers found a cluster, which is shown and changed by any of them; what cannot be is refused with the reason.
func TestCluster(t *testing.T) {
	t.Parallel()
	var peers []string
	for range 3 {
		peers = append(peers, cmdtest.FreeAddress(t))
	}
	var brokers []*cmdtest.Process
	for _, p := range peers {
		brokers = append(brokers, cmdtest.Broker(t, "brokerd", nil, "--cluster-name=prod", "--cluster-listen="+p, "--cluster-peers="+strings.Join(peers, ",")))
	}
	at := "--nsqd-http-address=" + brokers[0].HTTP
	shown := func() string { return ctl(t, 0, "cluster", "show", at) }
	cmdtest.Eventually(t, "the cluster is founded, and its leader known", time.Minute, func() bool {
		text := shown()
		return strings.Contains(text, "which is member there") && strings.Contains(text, "leads") && strings.Count(text, "votes") == 2
	})
	// decided is ctl until the answer is not that nobody led, or another one did meanwhile, as may be on a busy machine.
	decided := func(code int, args ...string) (said string) {
		t.Helper()
		cmdtest.Eventually(t, strings.Join(args, " ")+" is answered", time.Minute, func() bool {
			p := cmdtest.Tool(t, "brokerctl", args...)
			got := p.Wait(t, time.Minute)
			if said = p.Output(t) + p.LastWords(); strings.Contains(said, "NOT_DONE") || strings.Contains(said, "UNKNOWN") {
				return false
			}
			if got != code {
				t.Fatalf("brokerctl %q: exit code %d\n%s", args, got, said)
			}
			return true
		})
		return said
	}
	decided(1, "cluster", "add", peers[1], at)
	if got := decided(1, "cluster", "remove", peers[1], "--yes", at); !strings.Contains(got, "drain it first") {
		t.Errorf("remove: %s", got)
	}
	ctl(t, 2, "cluster", "remove", peers[1], at) // nobody can be asked
	decided(1, "cluster", "drain", "nobody", at)
	if got := decided(0, "cluster", "drain", peers[1], at); !strings.Contains(got, "done") {
		t.Errorf("drain: %s", got)
	}
	cmdtest.Eventually(t, "it drains", time.Minute, func() bool { return strings.Contains(shown(), "draining") })
	decided(0, "cluster", "drain", peers[1], "--undo", at)
	if got := ctl(t, 0, "cluster", "transfer", peers[2], "--dry-run", at); !strings.Contains(got, "/cluster/transfer") {
		t.Errorf("dry run: %s", got)
	}
	if got := ctl(t, 0, "cluster", "show", "--json", at); !strings.Contains(got, `"preview": true`) {
		t.Errorf("as JSON: %s", got)
	}
	alone := cmdtest.Broker(t, "brokerd", nil)
	ctl(t, 1, "cluster", "show", "--nsqd-http-address="+alone.HTTP)
}
