package bodies

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func nothing() error { return nil }

// TestSmallBodiesNeedNoShare: they go on while the budget is used up.
func TestSmallBodiesNeedNoShare(t *testing.T) {
	b := New(1 << 20)
	large, small := b.Begin(nil), b.Begin(nil)
	if err := large.Hold(1<<20, Free, nothing); err != nil {
		t.Fatal(err)
	}
	if err := small.Hold(Free, 1, nothing); err != nil || b.Used() != 1<<20 {
		t.Errorf("%v, %d used", err, b.Used())
	}
	large.End()
	small.End()
	if b.Used() != 0 {
		t.Errorf("%d are still held", b.Used())
	}
	var none Body
	if err := none.Hold(1<<30, 0, nothing); err != nil {
		t.Error("a body without a budget is bounded")
	}
	none.End()
}

// TestWhoDoesNotMoveIsCutOff: as soon as somebody has waited for a second, and no sooner; who moves stays.
func TestWhoDoesNotMoveIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(10 << 20)
		var mu sync.Mutex
		var cut []string
		hold := func(name string, moves bool) (done chan error) {
			done = make(chan error, 1)
			go func() {
				h := b.Begin(func() { mu.Lock(); cut = append(cut, name); mu.Unlock() })
				defer h.End()
				for i := range 600 {
					arrived := int64(Free)
					if moves {
						arrived += int64(i) * progress
					}
					if err := h.Hold(5<<20, arrived, nothing); err != nil {
						done <- err
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
				done <- nil
			}()
			return done
		}
		stalled, moving := hold("stalled", false), hold("moving", true)
		time.Sleep(10 * time.Second)
		if len(cut) > 0 {
			t.Error("cut off though nobody waits")
		}
		began := time.Now()
		third := b.Begin(nil)
		if err := third.Hold(4<<20, Free, nothing); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < patience || waited > 2*patience {
			t.Errorf("waited for %v", waited)
		}
		if err := <-stalled; !errors.Is(err, ErrCut) {
			t.Error(err)
		}
		third.End()
		if err := <-moving; err != nil {
			t.Error(err)
		}
		if len(cut) != 1 || cut[0] != "stalled" || b.Used() != 0 {
			t.Errorf("cut off %q, %d used", cut, b.Used())
		}
	})
}

// TestWaitingEnds: with what is told meanwhile, or when nothing helps.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1 << 20)
		h, w := b.Begin(func() {}), b.Begin(nil)
		if err := h.Hold(1<<20, Free, nothing); err != nil {
			t.Fatal(err)
		}
		gone := errors.New("gone")
		if err := w.Hold(1<<20, Free, func() error { return gone }); !errors.Is(err, gone) {
			t.Error(err)
		}
		w.End()
		began := time.Now()
		if err := w.Hold(1<<20, Free, func() error { return nil }); !errors.Is(err, ErrBusy) || time.Since(began) < maxWait {
			t.Errorf("%v after %v", err, time.Since(began)) // h is cut, and does not end
		}
		w.End()
		h.End()
		stop := func() error { b.Close(); return nil }
		again := b.Begin(nil)
		if err := h.Hold(1<<20, Free, nothing); err != nil {
			t.Fatal(err)
		}
		if err := again.Hold(1<<20, Free, stop); !errors.Is(err, ErrDone) {
			t.Error(err)
		}
		again.End()
		h.End()
		b = New(1 << 20)
		w = b.Begin(nil)
		if err := w.Hold(64<<20, Free, nothing); err != nil {
			t.Error("one that is larger than the budget, alone:", err)
		}
		w.End()
	})
}

// TestBoundUnderRandomUse: what is held never passes the limit but for one alone, nobody waits for good, and all is given back.
func TestBoundUnderRandomUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 8 << 20
		b := New(limit)
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				h := b.Begin(func() {})
				for range 20 {
					total := int64(r.IntN(3 << 20))
					for arrived := int64(Free); arrived < total; arrived += progress * (1 + int64(r.IntN(20))) {
						if err := h.Hold(total, arrived, nothing); err != nil {
							break
						}
						time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
						if r.IntN(50) == 0 {
							total += 1 << 20 // more than it announced
						}
					}
					if used := b.Used(); used > limit+limit/slack {
						t.Errorf("%d are held", used)
					}
					h.End()
				}
			})
		}
		all.Wait()
		if b.Used() != 0 || len(b.waiters) != 0 || len(b.holders) != 0 {
			t.Errorf("%d used, %d wait, %d hold", b.Used(), len(b.waiters), len(b.holders))
		}
	})
}
