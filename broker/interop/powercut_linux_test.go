package interop

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"brokerd/cmd/cmdtest"
)

// TestPowerCutsLoseNothingAtFsync cuts the power of a file system of its own at random moments, under stock producers and a
// stock consumer. What was acknowledged at level fsync must all be finished in the end.
func TestPowerCutsLoseNothingAtFsync(t *testing.T) {
	t.Parallel()
	v := newVolume(t, "ext4", 256)
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(v.dir, "data"), "--durability=fsync", "--mem-queue-size=200",
		"--sync-timeout=500ms")
	b.Start(t)
	b.Create(t, topic, channel)
	l := newLedger()
	l.forget = time.Second // what consumers say is synced within the timeout, but nobody waits for it
	l.begin(t, b.TCP)
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(rows, ledgerColumns)
	n := max(1, rounds(t)/2)
	for round := 1; round <= n; round++ {
		cmdtest.Eventually(t, "messages come again", 20*time.Second, l.flows())
		life := time.Duration(100+rand.IntN(900)) * time.Millisecond
		<-time.After(life) // a random moment is what is tested
		l.killed(func() { v.powerCut(t, b) })
		down := time.Now()
		b.Start(t)
		l.up(time.Now())
		l.row(rows, round, life, time.Since(down))
	}
	l.settle(t)
	l.row(rows, n+1, 0, 0)
	rows.Flush()
	t.Logf("power cuts; the last line is the end, without one\n%s", &table)
	l.expectNothingLost(t, b)
	b.Stop(t)
}

// TestPowerCutsStoreRepeatsOnce is TestKilledBrokerStoresRepeatsOnce at level fsync, with the power of a file system of its own cut.
func TestPowerCutsStoreRepeatsOnce(t *testing.T) {
	t.Parallel()
	v := newVolume(t, "ext4", 256)
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(v.dir, "data"), "--mem-queue-size=200", "--sync-timeout=500ms")
	storesRepeatsOnce(t, b, "fsync", max(1, rounds(t)/2), func() { v.powerCut(t, b) })
}
