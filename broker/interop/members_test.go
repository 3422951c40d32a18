package interop

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// members are brokers of one cluster, as processes.
type members struct {
	flags   []string // of all
	peers   []string
	brokers []*cmdtest.Process
	at      map[*cmdtest.Process]string // addresses in the cluster
}

// foundMembers starts three brokers that found a cluster.
func foundMembers(t *testing.T, flags ...string) *members {
	t.Helper()
	m := &members{flags: flags, at: map[*cmdtest.Process]string{}}
	for range 3 {
		m.peers = append(m.peers, cmdtest.FreeAddress(t))
	}
	for i, address := range m.peers {
		m.brokers = append(m.brokers, m.broker(t, fmt.Sprintf("member-%d", i+1), address, t.TempDir()))
	}
	for _, b := range m.brokers {
		b.Start(t)
	}
	m.awaitWhole(t, m.brokers)
	return m
}

// broker prepares one more over a folder.
func (m *members) broker(t *testing.T, label, address, folder string) *cmdtest.Process {
	t.Helper()
	b := newBroker(t, "brokerd", label, folder, append([]string{"--cluster-name=prod", "--cluster-listen=" + address, "--cluster-peers=" + strings.Join(m.peers, ",")},
		m.flags...)...)
	m.at[b] = address
	return b
}

// view returns what a broker says of its cluster.
func view(t *testing.T, b *cmdtest.Process) (v httpapi.Cluster) {
	t.Helper()
	if err := b.Ask(t, "/cluster", &v); err != nil {
		return httpapi.Cluster{}
	}
	return v
}

// nodeIn returns what a broker says of the node at an address in the cluster that is in a state.
func nodeIn(v *httpapi.Cluster, address, state string) (n httpapi.ClusterNode) {
	i := slices.IndexFunc(v.Nodes, func(n httpapi.ClusterNode) bool { return n.Address == address && n.State == state })
	if i < 0 {
		return n
	}
	return v.Nodes[i]
}

// awaitWhole waits until brokers are the members of one cluster, all linked, with one leader.
func (m *members) awaitWhole(t *testing.T, brokers []*cmdtest.Process) {
	t.Helper()
	cmdtest.Eventually(t, "all are members of one cluster", time.Minute, func() bool {
		said := map[string]bool{}
		for _, b := range brokers {
			v := view(t, b)
			if v.State != "member" || v.Leader == "" || len(v.Nodes) != len(brokers) {
				return false
			}
			for _, o := range brokers {
				if !nodeIn(&v, m.at[o], "member").Linked {
					return false
				}
			}
			said[v.ID+v.Leader] = true
		}
		return len(said) == 1
	})
}

// changeMap posts a change of the map and returns the status and the answer.
func changeMap(t *testing.T, b *cmdtest.Process, path string) (status int, body string) {
	t.Helper()
	r, err := http.Post("http://"+b.HTTP+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// patient has brokers wait for a leader as long as a busy machine may need, where publishes may not fail and consumers may not be closed.
const patient = "--cluster-wait=30s"

// decided posts a change until it is one way or the other: while nobody leads, or another one comes to lead, it is not.
func decided(t *testing.T, b *cmdtest.Process, path string) (status int, body string) {
	t.Helper()
	cmdtest.Eventually(t, path+" is decided", time.Minute, func() bool {
		status, body = changeMap(t, b, path)
		return !slices.ContainsFunc([]string{"NOT_DONE", "NOT_LEADER", "UNKNOWN"}, func(passing string) bool { return strings.Contains(body, passing) })
	})
	return status, body
}

// carryOut posts a change that must be made.
func carryOut(t *testing.T, b *cmdtest.Process, path string) {
	t.Helper()
	if status, body := decided(t, b, path); status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
}

// TestClusterOfProcesses: three brokers found a cluster; the one that leads is killed, and comes back; a folder is wiped, and the broker
// is another one, which an operator has take the place of what it was; a fourth is let in, one is taken out. Messages of local topics
// are where they were.
func TestClusterOfProcesses(t *testing.T) {
	t.Parallel()
	m := foundMembers(t)
	id := view(t, m.brokers[0]).ID
	for _, b := range m.brokers {
		b.Publish(t, "local", "of "+b.Label)
	}

	var v httpapi.Cluster
	leads := -1
	cmdtest.Eventually(t, "one leads", time.Minute, func() bool {
		v = view(t, m.brokers[0])
		leads = slices.IndexFunc(m.brokers, func(b *cmdtest.Process) bool { return nodeIn(&v, m.at[b], "member").Leads })
		return leads >= 0
	})
	killed := m.brokers[leads]
	killed.Kill(t)
	other := m.brokers[(leads+1)%3]
	cmdtest.Eventually(t, "another one leads", time.Minute, func() bool {
		now := view(t, other)
		return now.Leader != "" && now.Leader != v.Leader
	})
	carryOut(t, other, "/cluster/drain?node="+m.at[killed])
	killed.Start(t)
	m.awaitWhole(t, m.brokers)
	carryOut(t, killed, "/cluster/drain?undo=true&node="+m.at[killed])
	if got := cmdtest.ChannelOf(killed.Topic(t, "local"), ""); killed.Topic(t, "local").Depth != 1 {
		t.Errorf("its own topic after kill -9: %+v", got)
	}

	killed.Kill(t) // and its folder is lost
	wiped := m.broker(t, "wiped", m.at[killed], t.TempDir())
	was := nodeIn(&v, m.at[killed], "member").Folder
	wiped.Start(t)
	cmdtest.Eventually(t, "it waits as a candidate", time.Minute, func() bool { return view(t, wiped).State == "candidate" })
	cmdtest.Eventually(t, "with a broker whose folder was wiped the cluster has four", time.Minute, func() bool {
		now := view(t, other)
		return now.ID == id && len(now.Nodes) == 4
	})
	carryOut(t, other, "/cluster/replace?old="+was+"&new="+view(t, wiped).Folder)
	m.brokers[leads] = wiped
	m.awaitWhole(t, m.brokers)

	fourth := m.broker(t, "member-4", cmdtest.FreeAddress(t), t.TempDir())
	fourth.Start(t)
	cmdtest.Eventually(t, "the fourth waits as a candidate", time.Minute, func() bool { return view(t, fourth).State == "candidate" })
	carryOut(t, wiped, "/cluster/add?node="+m.at[fourth])
	m.awaitWhole(t, append(slices.Clone(m.brokers), fourth))
	if status, body := decided(t, fourth, "/cluster/remove?node="+m.at[other]); status != http.StatusConflict || !strings.Contains(body, "drain it first") {
		t.Errorf("taken out with its replicas: %d %s", status, body)
	}
	carryOut(t, fourth, "/cluster/drain?node="+m.at[other])
	cmdtest.Eventually(t, "it has no replicas", time.Minute, func() bool {
		now := view(t, fourth)
		return nodeIn(&now, m.at[other], "member").Replicas == 0
	})
	carryOut(t, fourth, "/cluster/remove?node="+m.at[other])
	cmdtest.Eventually(t, "it knows", time.Minute, func() bool { return view(t, other).State == "removed" })
	if other.Topic(t, "local").Depth != 1 {
		t.Error("a broker that was removed has lost its own topic")
	}
	m.awaitWhole(t, append(slices.DeleteFunc(slices.Clone(m.brokers), func(b *cmdtest.Process) bool { return b == other }), fourth))
	for _, b := range append(m.brokers, fourth) {
		b.Stop(t)
	}
}

// TestClusterThroughKillsAndPauses: whoever leads is killed or paused again and again; the map is one at the end, and no change that was
// answered is missing. Then all are killed, and start at once: nobody waits for another one to be there first; and each is ready once it has
// caught up, not before.
func TestClusterThroughKillsAndPauses(t *testing.T) {
	t.Parallel()
	m := foundMembers(t)
	for round := range roundsOr(t, 2) {
		v := view(t, m.brokers[round%3])
		at := max(0, slices.IndexFunc(m.brokers, func(b *cmdtest.Process) bool { return nodeIn(&v, m.at[b], "member").Leads }))
		b, asked := m.brokers[at], m.brokers[(at+1)%3]
		if round%2 == 0 {
			b.Kill(t)
		} else {
			b.Signal(t, syscall.SIGSTOP)
		}
		target := m.at[m.brokers[(at+2)%3]]
		carryOut(t, asked, "/cluster/drain?node="+target)
		if round%2 == 0 {
			b.Start(t)
		} else {
			b.Signal(t, syscall.SIGCONT)
		}
		m.awaitWhole(t, m.brokers)
		cmdtest.Eventually(t, "all know what was answered", time.Minute, func() bool {
			for _, b := range m.brokers {
				v := view(t, b)
				if !nodeIn(&v, target, "member").Draining {
					return false
				}
			}
			return true
		})
		carryOut(t, b, "/cluster/drain?undo=true&node="+target)
	}
	for _, b := range m.brokers {
		b.Kill(t)
	}
	for _, b := range m.brokers { // each answers before the next one is there
		b.Start(t)
		if b == m.brokers[0] && b.Ask(t, "/ready", nil) == nil {
			t.Error("alone after a start it is ready")
		}
	}
	m.awaitWhole(t, m.brokers)
	for _, b := range m.brokers {
		cmdtest.Eventually(t, "it is ready", 0, func() bool { return b.Ask(t, "/ready", nil) == nil })
	}
	carryOut(t, m.brokers[0], "/cluster/drain?node="+m.at[m.brokers[1]])
}

// TestClusterWithTLSAndSecret: links over TLS with certificates of one authority, and a secret; a stranger with another authority, or without
// the secret, is nobody, and both logs say why.
func TestClusterWithTLSAndSecret(t *testing.T) {
	t.Parallel()
	ca, strange := prototest.NewAuthority(t), prototest.NewAuthority(t)
	secrets := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(secrets, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	with := func(ca *prototest.Authority, secret string) []string {
		cert, key, roots := ca.Files("broker")
		return []string{"--cluster-tls-cert=" + cert, "--cluster-tls-key=" + key, "--cluster-tls-ca=" + roots, "--cluster-secret-file=" + secret}
	}
	good := file("good", "0123456789abcdef0123\n")
	m := foundMembers(t, with(ca, good)...)
	for name, flags := range map[string][]string{
		"another authority": with(strange, good),
		"another secret":    with(ca, file("bad", "0123456789abcdef0124\n")),
	} {
		m.flags = flags
		b := m.broker(t, "stranger", cmdtest.FreeAddress(t), t.TempDir())
		b.Start(t)
		cmdtest.Eventually(t, name+": it is refused", time.Minute, func() bool {
			return strings.Contains(b.LastWords(), "a peer is not spoken with") || view(t, b).Why != ""
		})
		if v := view(t, b); v.State != "asking" || v.ID != "" || len(view(t, m.brokers[0]).Nodes) != 3 {
			t.Errorf("%s: the stranger is %s of %q", name, v.State, v.ID)
		}
		b.Stop(t)
	}
	// What is no broker at all does no harm.
	c, err := net.Dial("tcp", m.peers[0])
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	c.Close()
	m.awaitWhole(t, m.brokers)
}

// TestClusterAndCopiesOfAFolder: the same folder is started once; an old copy of one comes back as another replica; the folder of a member
// does not start alone, or in another cluster.
func TestClusterAndCopiesOfAFolder(t *testing.T) {
	t.Parallel()
	m := foundMembers(t)
	b := m.brokers[2]
	v := view(t, m.brokers[0])
	was := nodeIn(&v, m.at[b], "member")

	twice := m.broker(t, "twice", cmdtest.FreeAddress(t), b.Data)
	if err := twice.TryStart(t); err == nil {
		t.Error("a folder that is in use was started once more")
	}
	b.Kill(t)
	old := t.TempDir()
	if err := copyFolder(old, b.Data); err != nil {
		t.Fatal(err)
	}
	b.Start(t)
	m.awaitWhole(t, m.brokers)
	b.Kill(t)
	copied := m.broker(t, "copied", m.at[b], old)
	copied.Start(t)
	m.brokers[2] = copied
	cmdtest.Eventually(t, "it has another id", time.Minute, func() bool {
		now := view(t, m.brokers[0])
		e := nodeIn(&now, m.at[copied], "member")
		return e.Folder == was.Folder && e.Replica > was.Replica && view(t, copied).State == "member"
	})
	m.awaitWhole(t, m.brokers)

	copied.Stop(t)
	alone := newBroker(t, "brokerd", "alone", old)
	if err := alone.TryStart(t); err == nil || !strings.Contains(alone.LastWords(), "cluster-name") {
		t.Errorf("the folder of a member was started alone: %v", err)
	}
	other := m.broker(t, "other", m.at[copied], old)
	other.Args = append(other.Args, "--cluster-name=test")
	if err := other.TryStart(t); err == nil || !strings.Contains(other.LastWords(), "another cluster") {
		t.Errorf("the folder of a member was started in another cluster: %v", err)
	}
	copied.Start(t)
	m.awaitWhole(t, m.brokers)
}
