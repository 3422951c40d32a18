package interop

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// unhurried leaves consumers, and producers that are being answered, as much time at a broker's stop as a busy machine may need.
const unhurried = "--shutdown-timeout=30m"

// stopRounds is how often each broker is stopped.
const stopRounds = 5

// TestAStopUnderLoadRepeatsNothing stops a broker in order at random moments, under stock producers and a stock consumer, and sends
// it more signals while it stops, as impatient people and scripts do. It must end with exit code 0 each time; no acknowledged
// message may be lost, and none that was finished come again: the consumer answers at once what it has.
func TestAStopUnderLoadRepeatsNothing(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"memory", "disk", "fsync"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, "brokerd", "brokerd-"+level, t.TempDir(), "--durability="+level, "--mem-queue-size=200", unhurried)
			b.Start(t)
			b.Create(t, topic, channel)
			l := newLedger()
			l.gentle, l.undue, l.forget = true, level == "memory", 0
			l.outlives(t, b, stopRounds, 30*time.Millisecond, 330*time.Millisecond, func() {
				pressImpatiently(t, b)
				if l.twice > 0 {
					t.Errorf("%d messages that were finished came again", l.twice)
				}
			})
			b.Stop(t)
		})
	}
}

// pressImpatiently asks a daemon to stop several times, milliseconds apart, and expects that it stops in order.
func pressImpatiently(t *testing.T, p *cmdtest.Process) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt, syscall.SIGTERM} {
		<-time.After(time.Duration(rand.IntN(6)) * time.Millisecond) // a random moment of the stop
		if p.Ended() {
			break
		}
		p.SignalIfThere(s)
	}
	if code := p.Wait(t, 40*time.Second); code != 0 {
		t.Errorf("%s: exit code %d\n%s", p.Label, code, p.LastWords())
	}
}

// daemons starts one of each.
func daemons(t *testing.T) []*cmdtest.Process {
	t.Helper()
	lookup := cmdtest.Lookup(t, "lookupd")
	broker := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	return []*cmdtest.Process{lookup, broker, cmdtest.Admin(t, "admind", "--lookupd-http-address="+lookup.HTTP)}
}

// TestEveryDaemonStopsOnceAndInOrder, however often it is told.
func TestEveryDaemonStopsOnceAndInOrder(t *testing.T) {
	for _, p := range daemons(t) {
		pressImpatiently(t, p)
	}
}

// TestQuitEndsEveryDaemonAtOnce, which says what is lost.
func TestQuitEndsEveryDaemonAtOnce(t *testing.T) {
	for _, p := range daemons(t) {
		p.Signal(t, syscall.SIGQUIT)
		code, said := p.Wait(t, 10*time.Second), p.LastWords()
		if code != 1 || !strings.Contains(said, `level=FATAL msg="ended at once" error="signal: quit" lost=`) {
			t.Errorf("%s: exit code %d\n%s", p.Label, code, said)
		}
	}
}

// TestQuitSaysHowMuchIsLost of a broker that has 80,000 messages in memory: while it serves, and while it saves them. What the next
// start finds and what was lost make all of them, but for what was written and not counted any more.
func TestQuitSaysHowMuchIsLost(t *testing.T) {
	const messages, batch = 80000, 1000
	for name, saves := range map[string]time.Duration{"while it serves": -1, "while it saves": 5 * time.Millisecond, "later": 60 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, "brokerd", "brokerd", t.TempDir(), "--durability=memory", "--mem-queue-size=100000")
			b.Start(t)
			b.Create(t, topic, channel)
			for range messages / batch {
				if got := ask(t, b, "POST", "/mpub?topic="+topic, strings.Repeat("message\n", batch)); got.status != 200 {
					t.Fatalf("%d %s", got.status, got.body)
				}
			}
			if saves >= 0 {
				b.Signal(t, syscall.SIGTERM)
				<-time.After(saves) // a moment of its saving: nothing outside tells how far that is
			}
			b.SignalIfThere(syscall.SIGQUIT)
			code, said := b.Wait(t, 10*time.Second), b.LastWords()
			if code == 0 {
				t.Skip("it was faster than the signal")
			}
			lost := 0
			if m := regexp.MustCompile(`lost="(\d+) messages in the memory of topics at level memory: ` + topic).FindStringSubmatch(said); m != nil {
				lost, _ = strconv.Atoi(m[1])
			}
			if code != 1 || lost == 0 && !strings.Contains(said, `lost="nothing that was acknowledged"`) {
				t.Fatalf("exit code %d\n%s", code, said)
			}
			b.Start(t)
			kept := int(b.Channel(t, topic, channel).Depth)
			t.Logf("said to be lost: %d; there again: %d", lost, kept)
			if kept > messages || kept < messages-lost {
				t.Errorf("%d of %d messages are there again, and %d were said to be lost", kept, messages, lost)
			}
		})
	}
}
