package storage

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/vfs"
)

// TestAReadThatIsWrongOnce: a byte that is wrong in one read of a start or of a repair, whichever, is no damage: memory and cables have faults,
// too. Nothing is missing, put aside, or left out.
func TestAReadThatIsWrongOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := worked(t)
		n.disk = nil
		fs := n.fs
		for _, accept := range []bool{false, true} {
			for nth, more := 0, true; more; nth++ {
				again := n.copy()
				again.fs, again.accept = fs.KillClone(), accept
				again.reborn()
				again.disk = vfs.NewFaulty(again.fs, vfs.Rule{Ops: vfs.OpRead, Skip: nth, Times: 1, Flip: true})
				var reads atomic.Int64
				again.disk.Observe(func(op vfs.Op, _ string) {
					if op == vfs.OpRead {
						reads.Add(1)
					}
				})
				recovery, err := again.open()
				if err != nil {
					t.Fatalf("read %d is wrong, loss accepted %v: %v", nth, accept, err)
				}
				if o := again.k.Opened(); len(o.Damage)+len(o.Missing)+len(o.Log.Damage) > 0 || again.damaged.Load() > 0 || len(again.k.unknown) > 0 {
					t.Fatalf("read %d is wrong, loss accepted %v: %+v, to be put aside %q", nth, accept, o, again.k.unknown)
				}
				for id := range recovery.State.Topics {
					if missing := recovery.Missing(id); len(missing) > 0 {
						t.Fatalf("read %d is wrong, loss accepted %v: %v are missing", nth, accept, missing)
					}
				}
				more = int(reads.Load()) > nth
				if err := errors.Join(again.r.Close(), again.k.Abandon()); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestAReadOfMessagesThatIsWrongOnce is that for what consumers get.
func TestAReadOfMessagesThatIsWrongOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := worked(t)
		fs := n.fs
		for nth, more := 0, true; more; nth += 3 {
			again := n.copy()
			again.fs = fs.KillClone()
			again.start()
			var reads atomic.Int64
			again.disk.Observe(func(op vfs.Op, _ string) {
				if op == vfs.OpRead {
					reads.Add(1)
				}
			})
			again.disk.SetRules(vfs.Rule{Ops: vfs.OpRead, Skip: nth, Times: 1, Flip: true})
			again.drain()
			if again.damaged.Load() > 0 {
				t.Fatalf("read %d is wrong: messages are told to be lost", nth)
			}
			more = int(reads.Load()) > nth
			if err := again.stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
