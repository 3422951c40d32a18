package wal
import ("testing";"fmt";"math/rand/v2";"brokerd/diskqueue/vfs")
var dbgOn bool
func TestDbg(t *testing.T){
 var sum crashSum
 seed:=1088
 w := &crashWorld{t: t, seed: seed, rng: rand.New(rand.NewPCG(uint64(seed), 7)), fs: vfs.NewMem(), sum: &sum}
 dbgOn=true
 for w.life = range 1 + w.rng.IntN(4) { fmt.Println("LIFE",w.life); w.live() }
}
