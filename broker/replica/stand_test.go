package replica

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// followers returns the replicas that are linked and do not lead.
func (c *cluster) followers(leader *running) (list []*running) {
	for _, r := range c.nodes {
		if r != leader {
			list = append(list, r)
		}
	}
	return list
}

// until returns how long it takes until another replica than the old leader leads.
func (c *cluster) until(old *running) time.Duration {
	c.t.Helper()
	began := time.Now()
	for time.Since(began) < 20*time.Second {
		time.Sleep(5 * time.Millisecond)
		for _, r := range c.followers(old) {
			if r.leads() != 0 {
				return time.Since(began)
			}
		}
	}
	c.t.Fatal("nobody leads after 20 s")
	return 0
}

// back has a leader that was cut off be one of the group again.
func (c *cluster) back(old *running) {
	c.setCut(false, old.id)
	for range 100 {
		if time.Sleep(50 * time.Millisecond); old.leads() == 0 && old.group.Leader() != 0 && old.group.Leader() != old.id {
			return
		}
	}
	c.t.Fatal("who was cut off follows nobody")
}

// Two that stand for election at the same moment keep their votes for themselves. One of them leads soon all the same, not after another election timeout.
func TestTwoThatStandAtOnceDoNotWaitForATimeout(t *testing.T) {
	for _, voters := range []int{3, 5} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, voters, 0, nil)
			defer c.close()
			for range 5 {
				old := c.leader()
				before, err := old.group.Status(t.Context())
				fatal(t, err)
				c.setCut(true, old.id)
				synctest.Wait()
				both := c.followers(old)
				halt := make(chan struct{})
				for _, r := range both {
					fatal(t, r.group.ForgetLeader(t.Context()))
					r.halt.Store(&halt)
				}
				for _, r := range both {
					fatal(t, r.group.Campaign(t.Context()))
				}
				synctest.Wait()
				for _, r := range both {
					r.halt.Store(nil)
				}
				close(halt)
				took := c.until(old)
				after, err := c.leader().group.Status(t.Context())
				fatal(t, err)
				if voters == 3 && after.Term < before.Term+2 {
					t.Fatalf("term %d, and %d before: they did not stand at once", after.Term, before.Term)
				}
				if took > 500*time.Millisecond {
					t.Errorf("%d voters: one leads after %v", voters, took)
				}
				c.back(old)
			}
		})
	}
}

// Who misses the leader a moment before the others do is not kept waiting for another election timeout by having asked them too early.
func TestWhoAsksTooEarlyAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		for range 10 {
			old := c.leader()
			fatal(t, old.publish("x"))
			time.Sleep(200 * time.Millisecond)
			c.setCut(true, old.id)
			early := c.followers(old)[0]
			fatal(t, early.group.ForgetLeader(t.Context()))
			fatal(t, early.group.Campaign(t.Context())) // the other one has just heard the leader
			time.Sleep(500 * time.Millisecond)
			if old.leads() == 0 || early.leads() != 0 {
				t.Fatalf("an election before anybody else has missed the leader")
			}
			if took := 500*time.Millisecond + c.until(old); took > 1600*time.Millisecond {
				t.Errorf("another one leads after %v", took)
			}
			c.back(old)
		}
	})
}

// A leader that falls silent at any moment, under load, is followed by another one within two election timeouts and a moment, whenever the clocks of the others tick and however far
// they are from each other.
func TestASilentLeaderIsFollowedSoon(t *testing.T) {
	for way, most := range map[time.Duration]time.Duration{0: 2200 * time.Millisecond, 40 * time.Millisecond: 3500 * time.Millisecond} {
		var worst time.Duration
		for seed := range uint64(6) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				c := newCluster(t, 3, 0, func(o *Options) {
					time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
					o.Clock = NewClock(50*time.Millisecond, nil)
				})
				defer c.close()
				c.way.Store(int64(way))
				for range 40 {
					old := c.leader()
					for range rng.IntN(10) {
						fatal(t, old.publish("x"))
						time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
					}
					c.setCut(true, old.id)
					worst = max(worst, c.until(old))
					c.back(old)
					time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
				}
			})
		}
		if worst > most {
			t.Errorf("a message takes %v: after %v at worst", way, worst)
		}
		t.Logf("a message takes %v: after %v at worst", way, worst)
	}
}

// A start votes for nobody and does not stand for as long as an earlier one may have promised, however short its own election timeout is.
func TestAStartIsQuietForAsLongAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, func(o *Options) { o.ElectionTicks, o.QuietTicks = leastTicks, 60 })
		defer c.close()
		time.Sleep(58 * 50 * time.Millisecond)
		for _, r := range c.nodes {
			if st, err := r.group.Status(t.Context()); err != nil || st.Term != 1 || st.Lead != 0 {
				t.Errorf("replica %d: %+v, %v", r.id, st, err)
			}
		}
		c.leader()
	})
}
