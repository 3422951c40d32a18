package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// insideVariable says, in the environment, that a test runs in a network namespace of its own already.
const insideVariable = "BROKERD_TEST_NETNS"

// inNamespace runs a test once more in a network namespace that is made for it and ends with it, and reports whether this is that run. Nothing of
// the machine's own network is touched.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: network namespaces need root")
	}
	for _, tool := range []string{"unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT RUN: %v", err)
		}
	}
	if out, err := exec.Command("unshare", "--net", "ip", "link", "add", "probe", "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: this machine makes no network namespace with a bridge: %v: %s", err, out)
	}
	again := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v", "-test.timeout=30m")
	again.Env = append(os.Environ(), insideVariable+"=yes", "TEST_BINARIES="+filepath.Dir(cmdtest.Find(t, "brokerd")))
	again.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := again.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in a network namespace of its own: %v", err)
	}
	return false
}

// wires are hosts that are connected by a bridge, on which the test itself is host 254.
type wires struct {
	t     *testing.T
	hosts []int // a process in each host's namespace
}

func address(host int) string { return fmt.Sprintf("10.77.0.%d", host) }

// lay makes hosts 1 to n.
func lay(t *testing.T, n int) *wires {
	t.Helper()
	w := &wires{t: t}
	w.run("ip link set lo up")
	w.run("ip link add hub type bridge")
	w.run("ip address add %s/24 dev hub", address(254))
	w.run("ip link set hub up")
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for host := 1; host <= n; host++ {
		holds := exec.Command("unshare", "--net", "sleep", "infinity")
		holds.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := holds.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = holds.Process.Kill(); _ = holds.Wait() })
		pid := holds.Process.Pid
		w.hosts = append(w.hosts, pid)
		cmdtest.Eventually(t, "a host is there", time.Minute, func() bool {
			its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
			return err == nil && its != own
		})
		w.run("ip link add port%d type veth peer name eth netns %d", host, pid)
		w.run("ip link set port%d master hub up", host)
		w.on(host, "ip link set lo up")
		w.on(host, "ip address add %s/24 dev eth", address(host))
		w.on(host, "ip link set eth up")
	}
	return w
}

// run runs a command that must succeed.
func (w *wires) run(format string, args ...any) {
	w.t.Helper()
	line := strings.Fields(fmt.Sprintf(format, args...))
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		w.t.Fatalf("%q: %v: %s", line, err, out)
	}
}

// on runs one in a host's namespace.
func (w *wires) on(host int, format string, args ...any) {
	w.t.Helper()
	w.run("nsenter --target=%d --net "+format, append([]any{w.hosts[host-1]}, args...)...)
}

// cut has everything that a host sends to others lost, until mend: it goes to a hardware address that nobody has.
func (w *wires) cut(from int, to ...int) {
	w.t.Helper()
	for _, host := range to {
		w.on(from, "ip neighbour replace %s lladdr 02:00:00:00:00:01 nud permanent dev eth", address(host))
	}
}

// mend ends that.
func (w *wires) mend(from int, to ...int) {
	w.t.Helper()
	for _, host := range to {
		w.on(from, "ip neighbour delete %s dev eth", address(host))
	}
}

// disturb has packets of all hosts come late, and some not at all, where this kernel can do that.
func (w *wires) disturb() {
	w.t.Helper()
	for host := range len(w.hosts) {
		out, err := exec.Command("tc", strings.Fields(fmt.Sprintf("qdisc add dev port%d root netem delay 2ms 1ms loss 0.5%%", host+1))...).CombinedOutput()
		if err != nil {
			w.t.Logf("NOT RUN: delay and loss by netem, which this kernel does not have: %v: %s", err, out)
			return
		}
	}
}

// foundOnHosts starts a broker on each host, and a lookup on this one.
func foundOnHosts(t *testing.T, w *wires) (m *members, lookup string) {
	t.Helper()
	l := cmdtest.New(t, "lookupd", "--tcp-address="+address(254)+":4160", "--http-address="+address(254)+":4161", "--broadcast-address="+address(254))
	l.TCP, l.HTTP = address(254)+":4160", address(254)+":4161"
	l.Start(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = &members{at: map[*cmdtest.Process]string{}}
	for host := range w.hosts {
		m.peers = append(m.peers, address(host+1)+":4170")
	}
	for i, peer := range m.peers {
		own, data := address(i+1), t.TempDir()
		b := cmdtest.New(t, "brokerd", "--tcp-address="+own+":4150", "--http-address="+own+":4151", "--broadcast-address="+own, "--data-path="+data,
			"--lookupd-tcp-address="+l.TCP, "--cluster-name=prod", "--cluster-listen="+peer, "--cluster-peers="+strings.Join(m.peers, ","), "--cluster-secret-file="+secret)
		b.TCP, b.HTTP, b.Data, b.Label = own+":4150", own+":4151", data, "host-"+strconv.Itoa(i+1)
		b.Through = []string{"nsenter", "--target=" + strconv.Itoa(w.hosts[i]), "--net"}
		m.at[b] = peer
		m.brokers = append(m.brokers, b)
	}
	for _, b := range m.brokers {
		b.Start(t)
	}
	m.awaitWhole(t, m.brokers)
	return m, l.HTTP
}

// hostOf returns a broker's host, and the others.
func (m *members) hostOf(b *cmdtest.Process) (host int, others []int) {
	for i, o := range m.brokers {
		if o == b {
			host = i + 1
		} else {
			others = append(others, i+1)
		}
	}
	return host, others
}

// cutFor is how long a cut lasts of which nothing tells that it has had its effect, as the lead stays where it is: nearly twice the longest time, of
// 1.6 s, after which who hears nothing of a leader stands itself.
const cutFor = 3 * time.Second

// TestHistoriesThroughPartitions: three brokers on hosts of their own, whose leader is cut off from the two others in both directions, in either
// one, and from one of them; whose follower is; who are paused and killed. Clients reach all of them all the while, the old leader as well. What
// they did and saw is what a list can have done.
func TestHistoriesThroughPartitions(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	w := lay(t, 3)
	m, lookup := foundOnHosts(t, w)
	w.disturb()
	both := func(host int, others []int) (cut, mend func()) {
		return func() {
				w.cut(host, others...)
				for _, o := range others {
					w.cut(o, host)
				}
			}, func() {
				w.mend(host, others...)
				for _, o := range others {
					w.mend(o, host)
				}
			}
	}
	for round := range roundsOr(t, 1) {
		c := newCrowd(t, m, fmt.Sprint("orders-", round), lookup)
		c.more(t, 60)
		b := c.awaitLeader(t)
		host, others := m.hostOf(b)
		cut, mend := both(host, others)
		c.through(t, "a cut to both others, both ways,", b, cut, mend)

		b = c.awaitLeader(t)
		host, others = m.hostOf(b)
		c.through(t, "a cut of what it sends to the others,", b, func() { w.cut(host, others...) }, func() { w.mend(host, others...) })

		b = c.awaitLeader(t)
		host, others = m.hostOf(b)
		c.through(t, "a cut of what the others send to it,", b, func() { w.cut(others[0], host); w.cut(others[1], host) },
			func() { w.mend(others[0], host); w.mend(others[1], host) })

		b = c.awaitLeader(t)
		host, others = m.hostOf(b)
		cut, mend = both(host, others[:1])
		c.through(t, "a cut to one of the others,", b, func() { cut(); time.Sleep(cutFor) }, mend)

		b = c.follower(t)
		host, others = m.hostOf(b)
		cut, mend = both(host, others)
		c.through(t, "a cut of a follower,", b, func() { cut(); time.Sleep(cutFor) }, mend)

		b = c.awaitLeader(t)
		c.through(t, "SIGSTOP of the leader,", b, func() { b.Signal(t, syscall.SIGSTOP) }, func() { b.Signal(t, syscall.SIGCONT) })
		b = c.awaitLeader(t)
		c.through(t, "kill -9 of the leader,", b, func() { b.Kill(t) }, func() { b.Start(t) })
		c.judge(t)
	}
	for _, b := range m.brokers {
		b.Stop(t)
	}
}
