package interop

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// crashRounds is how often the broker is killed; BROKERD_CRASH_ROUNDS in the environment says another number.
const crashRounds = 8

func rounds(t *testing.T) int {
	t.Helper()
	return roundsOr(t, crashRounds)
}

// roundsOr is rounds where few are done by default, as each of them takes seconds.
func roundsOr(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("BROKERD_CRASH_ROUNDS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("BROKERD_CRASH_ROUNDS is %q, must be a number above 0", text)
	}
	return n
}

// burden runs as many processes beside the test as BROKERD_CRASH_LOAD in the environment says, each of which would take a core:
// what may be forgotten is to be measured on a busy machine as well.
func burden(t *testing.T) {
	t.Helper()
	text := os.Getenv("BROKERD_CRASH_LOAD")
	if text == "" {
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("BROKERD_CRASH_LOAD is %q, must be a number of processes", text)
	}
	for range n {
		p := exec.Command("sh", "-c", "while :; do :; done")
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.Process.Kill()
			_ = p.Wait()
		})
	}
}

// TestKilledBrokerLosesNothing kills a broker with SIGKILL at random moments, under stock producers and a stock consumer that
// finish, requeue and touch, and starts it again on the same folder and ports. Every acknowledged message must be finished in
// the end. What is delivered again after it was finished must have been finished just before a kill. Nothing deferred may come
// before it is due.
func TestKilledBrokerLosesNothing(t *testing.T) {
	burden(t)
	for _, level := range []string{"disk", "fsync"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			n := rounds(t)
			if level == "fsync" {
				n = max(1, n/2)
			}
			killRounds(t, level, n)
		})
	}
}

// reborn gives a broker another node id, host name and level for its next life: a container that is made anew has another name, and
// what it names itself after. The level is at least the one that is promised.
func reborn(b *cmdtest.Process, flags []string, level string) (life string) {
	id := rand.IntN(1024)
	if level == "disk" && rand.IntN(3) == 0 {
		level = "fsync"
	}
	b.Args = append(slices.Clone(flags), "--durability="+level)
	life = level
	if rand.IntN(3) > 0 {
		b.Args = append(b.Args, fmt.Sprintf("--node-id=%d", id))
		life += fmt.Sprintf(", node %d", id)
	}
	if os.Getuid() == 0 {
		b.Host = fmt.Sprintf("host-%d", rand.IntN(1000))
		life += ", on " + b.Host
	}
	return life
}

func killRounds(t *testing.T, level string, n int) {
	// Little memory, so that there is overflow on disk as well.
	b := newBroker(t, "brokerd", "brokerd-"+level, t.TempDir(), "--mem-queue-size=200")
	flags := b.Args
	reborn(b, flags, level)
	b.Start(t)
	b.Create(t, topic, channel)
	l := newLedger()
	l.outlives(t, b, n, 30*time.Millisecond, 500*time.Millisecond, func() {
		b.Kill(t)
		t.Logf("its next life: %s", reborn(b, flags, level))
	})
}
