package segment

import (
	"math/rand/v2"
	"slices"
	"testing"

	"brokerd/diskqueue/vfs"
)

// What Open has found and made durable is there after a power cut: an earlier process may have synced neither the files nor their names.
func TestFoundBlocksAreMadeDurable(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem, FileSize: 1})
	a, b := mustAppend(t, s, 1, 2), mustAppend(t, s, 3, 2)
	killed := mem.KillClone()
	must(t, s.Close())
	s, _, _ = mustOpen(t, Options{FS: killed, FileSize: 1})
	s.SyncFiles(map[uint32]uint32{a.Ref.File: a.Ref.Offset, b.Ref.File: b.Ref.Offset})
	for seed := range uint64(50) {
		_, blocks, damage := mustOpen(t, Options{FS: killed.CrashClone(rand.New(rand.NewPCG(seed, 1)))})
		if !slices.Equal(blocks, []Block{a, b}) || damage != nil {
			t.Fatalf("seed %d: found %v, damage %v", seed, blocks, damage)
		}
	}
	must(t, s.Close())
}

// Each file tells the name of its topic, whichever of them are left.
func TestEachFileTellsTheName(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem, FileSize: 1, Name: "orders"})
	a, b := mustAppend(t, s, 1, 2), mustAppend(t, s, 3, 2)
	for _, gone := range []Block{{}, b} {
		if gone != (Block{}) {
			must(t, s.Drop(gone.Ref))
		}
		must(t, s.Release())
		found, _, _ := mustOpen(t, Options{FS: mem.KillClone()})
		if name, err := found.Name(); name != "orders" || err != nil {
			t.Errorf("the files are those of %q, %v", name, err)
		}
		must(t, found.Close())
	}
	checkBlock(t, s, a)
	must(t, s.Close())
}
