package interop

import (
	"path/filepath"
	"testing"
	"time"
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
	l.outlives(t, b, max(1, rounds(t)/2), 100*time.Millisecond, time.Second, func() { v.powerCut(t, b) })
	b.Stop(t)
}

// TestPowerCutsStoreRepeatsOnce is TestKilledBrokerStoresRepeatsOnce at level fsync, with the power of a file system of its own cut.
func TestPowerCutsStoreRepeatsOnce(t *testing.T) {
	t.Parallel()
	v := newVolume(t, "ext4", 256)
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(v.dir, "data"), "--mem-queue-size=200", "--sync-timeout=500ms")
	storesRepeatsOnce(t, b, "fsync", max(1, rounds(t)/2), func() { v.powerCut(t, b) })
}
