package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"brokerd/diskqueue/journal"
)

// sent is a message that has left, and when it was to.
type sent struct {
	kind   raftpb.MessageType
	term   uint64
	leaves When
	at     time.Duration
}

// A group whose machine somebody runs for long holds up nobody's ticks, and is told of none of those that it has missed: the others elect another leader, and it follows.
func TestABusyGroupHoldsUpNobodysTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var beats atomic.Int64
		clock := NewClock(50*time.Millisecond, func() { beats.Add(1) })
		c := newCluster(t, 3, 0, func(o *Options) { o.Clock = clock })
		defer c.close()
		l := c.leader()
		term := l.leads()
		l.group.turn.has.Lock()
		before := beats.Load()
		time.Sleep(4 * time.Second)
		if n := beats.Load() - before; n < 19 || n > 41 {
			t.Errorf("%d beats in 4 s", n)
		}
		next := (*running)(nil)
		for _, r := range c.nodes {
			if r != l && r.leads() > term {
				next = r
			}
		}
		if next == nil {
			t.Fatal("the others have elected nobody")
		}
		term = next.leads()
		l.group.turn.leave()
		time.Sleep(4 * time.Second)
		fatal(t, next.publish("on"))
		time.Sleep(time.Second)
		if l.leads() != 0 || next.leads() != term || len(l.told()) != 1 {
			t.Errorf("the busy one leads in term %d and was told %q, the other one in %d and before in %d", l.leads(), l.told(), next.leads(), term)
		}
	})
}

// Groups of a node beat at the same moments, every second tick of their clock, and every fourth one while nothing happens. Heartbeats and their answers wait for that, but for the
// first answer of a term.
func TestGroupsOfANodeBeatTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewClock(50*time.Millisecond, nil)
		a, b := newCluster(t, 3, 0, func(o *Options) { o.Clock = clock }), newCluster(t, 3, 0, func(o *Options) { o.Clock = clock })
		defer a.close()
		defer b.close()
		var mu sync.Mutex
		var all []sent
		for _, c := range []*cluster{a, b} {
			c.mu.Lock()
			c.seen = func(message []byte, leaves When) {
				msg, err := decode(message)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, sent{msg.GetType(), msg.GetTerm(), leaves, clock.now()})
			}
			c.mu.Unlock()
		}
		leaders := []*running{a.leader(), b.leader()}
		beats := func(every time.Duration) (n int) {
			from := clock.now()
			time.Sleep(2 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			for _, s := range all {
				if s.kind == raftpb.MsgHeartbeat && s.at > from {
					if n++; s.leaves == Now || s.at%(every*clock.tick) != 0 {
						t.Errorf("a heartbeat at %v leaves %d", s.at, s.leaves)
					}
				}
			}
			return n
		}
		time.Sleep(2 * time.Second)
		if n := beats(restTicks); n < 2*2*9 || n > 2*2*11 {
			t.Errorf("%d heartbeats in 2 s while nothing happens", n)
		}
		ended := make(chan struct{})
		for _, l := range leaders {
			go func() {
				for range 26 {
					if err := l.publish("x"); err != nil {
						t.Error(err)
					}
					time.Sleep(100 * time.Millisecond)
				}
				ended <- struct{}{}
			}()
		}
		time.Sleep(200 * time.Millisecond)
		if n := beats(beatTicks); n < 2*2*19 || n > 2*2*21 {
			t.Errorf("%d heartbeats in 2 s while something happens", n)
		}
		for range leaders {
			<-ended
		}
		mu.Lock()
		defer mu.Unlock()
		first, late := 0, 0
		for _, s := range all {
			switch { // others leave soon: somebody else had the turn
			case s.kind == raftpb.MsgHeartbeatResp && s.leaves == Now:
				first++
			case s.kind == raftpb.MsgHeartbeatResp && s.leaves == Later:
				late++
			}
		}
		if first < 4 || first > 20 || late == 0 {
			t.Errorf("of the answers %d left at once, and %d later", first, late)
		}
	})
}

// A replica that answers is said to, also at the moment at which the engine begins to count anew who does.
func TestWhoAnswersIsSaidTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		time.Sleep(time.Second)
		for range 100 {
			time.Sleep(20 * time.Millisecond)
			st, err := l.group.Status(t.Context())
			fatal(t, err)
			for id, active := range st.Active {
				if !active {
					t.Fatalf("replica %d is said not to answer", id)
				}
			}
		}
	})
}

// newNodesClocks returns clocks of three nodes, and what has the groups of a cluster tick by them.
func newNodesClocks(beat func(node int)) (clocks []*Clock, by func() func(*Options)) {
	for i := range 3 {
		clocks = append(clocks, NewClock(50*time.Millisecond, func() { beat(i) }))
	}
	return clocks, func() func(*Options) {
		next := 0
		return func(o *Options) {
			o.Clock = clocks[next%3]
			next++
		}
	}
}

// Groups begin and end under the clocks of their nodes, at any moment, also in an election: another one keeps its leader and its lease meanwhile.
func TestGroupsComeAndGoUnderTheirClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, by := newNodesClocks(func(int) {})
		stays := newCluster(t, 3, 0, by())
		defer stays.close()
		l := stays.leader()
		term := l.leads()
		rng := rand.New(rand.NewPCG(1, 2))
		var others sync.WaitGroup
		for range 4 {
			seed := rng.Uint64()
			others.Go(func() {
				rng := rand.New(rand.NewPCG(seed, 1))
				for range 10 {
					c := newCluster(t, 3, 0, by())
					time.Sleep(time.Duration(rng.Int64N(int64(3 * time.Second))))
					c.close()
				}
			})
		}
		ended := make(chan struct{})
		go func() {
			others.Wait()
			close(ended)
		}()
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if i%50 == 0 {
				fatal(t, l.publish("x"))
			}
			if l.leads() != term || !l.group.Leased() {
				t.Fatalf("it led in term %d, leads in %d, and has the lease: %v", term, l.leads(), l.group.Leased())
			}
		}
	})
}

// A node is stopped for a while, with its clock, and what comes meanwhile comes after that: a follower is missed by nobody, a leader is followed by
// another one when that takes long, and by none when it does not; nothing is lost.
func TestOneNodeIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var halts [3]atomic.Pointer[chan struct{}]
		_, by := newNodesClocks(func(node int) {
			if halt := halts[node].Load(); halt != nil {
				<-*halt
			}
		})
		c := newCluster(t, 3, 0, by())
		defer c.close()
		var want []string
		for i, stop := range []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second, 5 * time.Second} {
			for _, leads := range []bool{false, true} {
				l := c.leader()
				term, n := l.leads(), l
				if !leads {
					n = c.nodes[l.id%3]
				}
				halt := make(chan struct{})
				n.halt.Store(&halt)
				halts[n.id-1].Store(&halt)
				time.Sleep(stop)
				missed := slices.ContainsFunc(c.nodes, func(r *running) bool { return r.leads() > term })
				if missed != (leads && stop > time.Second) {
					t.Errorf("after %v, the leader: %v: another one is elected: %v", stop, leads, missed)
				}
				if !leads || missed {
					text := fmt.Sprint(i, leads)
					fatal(t, c.leader().publish(text))
					want = append(want, text)
				}
				n.halt.Store(nil)
				halts[n.id-1].Store(nil)
				close(halt)
				time.Sleep(3 * time.Second)
				if l.leads() == term == missed {
					t.Errorf("after %v and on, the leader: %v: it leads: %v", stop, leads, !missed)
				}
			}
		}
		for _, r := range c.nodes {
			if got := r.told(); !slices.Equal(got, want) {
				t.Errorf("replica %d was told of %q, want %q", r.id, got, want)
			}
		}
	})
}

// A replica whose owner waits for its disk holds up nothing that comes over Control: other groups' heartbeats come behind that. Nor does one that is busy for any other reason.
func TestABusyGroupHoldsUpNothingThatIsUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, func(o *Options) { o.TellLate = true })
		defer c.close()
		l := c.leader()
		term, slow := l.leads(), c.nodes[l.id%3]
		synctest.Wait() // until then it may be told of the first entry by who reads from a link, as it is not slow yet
		slow.slow.Store(int64(2 * time.Second))
		most := 0
		for i := range 3 {
			fatal(t, l.publish(fmt.Sprint(i)))
			for range 20 {
				time.Sleep(50 * time.Millisecond)
				synctest.Wait()
				most = max(most, len(slow.inbox[Control]), len(slow.inbox[Bulk]))
			}
		}
		if most > 0 {
			t.Errorf("%d messages waited", most)
		}
		slow.slow.Store(0)
		time.Sleep(10 * time.Second)
		if got := slow.told(); len(got) != 3 || l.leads() != term {
			t.Errorf("it was told of %q; %d leads in term %d, in %d before", got, l.id, l.leads(), term)
		}
		slow.group.turn.has.Lock()
		for i := range 3 * inboxMessages {
			fatal(t, slow.group.Step(t.Context(), l.id, Control, encode(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(l.id), To: new(slow.id), Term: new(term)})))
			if i == inboxMessages {
				time.Sleep(50 * time.Millisecond)
			}
		}
		slow.group.turn.leave()
		fatal(t, l.publish("on"))
		time.Sleep(time.Second)
		if got := slow.told(); len(got) != 4 || l.leads() != term {
			t.Errorf("it was told of %q; %d leads in term %d, in %d before", got, l.id, l.leads(), term)
		}
	})
}

// The lead is not given to a replica that is about to be removed: it would have to be given away again, and until then nothing could be appended.
func TestTheLeadIsNotGivenToWhoIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		defer c.close()
		l := c.leader()
		fatal(t, l.publish("before"))
		stays, goes := c.nodes[l.id%3], c.nodes[(l.id+1)%3]
		c.mu.Lock()
		c.seen = func(message []byte, _ When) {
			msg, err := decode(message)
			if err != nil {
				t.Error(err)
			}
			for _, e := range msg.GetEntries() {
				if typeOf(e) == journal.EntryMembership && len(e.GetData()) == 0 { // it ends the change
					c.cut[stays.id] = true // c.mu is held
				}
			}
		}
		c.mu.Unlock()
		fatal(t, l.group.Replace(t.Context(), goes.id, 4))
		time.Sleep(200 * time.Millisecond)
		st, err := l.group.Status(t.Context())
		fatal(t, err)
		if len(st.Applied.Members.Outgoing) == 0 {
			t.Fatalf("the change is over: %+v", st.Applied.Members)
		}
		c.mu.Lock()
		c.seen, c.cut[stays.id] = nil, false // what was lost is sent again, after a moment
		c.mu.Unlock()
		if err := l.group.HandOver(t.Context(), goes.id); !errors.Is(err, ErrMembers) {
			t.Errorf("to who is removed: %v", err)
		}
		fatal(t, l.publish("during"))
		fatal(t, l.group.Yield(t.Context()))
		if next := c.leader(); next != stays {
			t.Errorf("replica %d leads, not %d", next.id, stays.id)
		}
		fatal(t, stays.publish("after"))
	})
}

// However ticks come, and whenever anything else is done, an election timeout is longer than a lease from when a leader is heard.
func TestAnElectionTimeoutIsLongerThanALease(t *testing.T) {
	const tick = 50 * time.Millisecond
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		n, most := one[time.Duration](rng, leastTicks, 10, 16), one[time.Duration](rng, beatTicks, restTicks)
		now := time.Second + pick(rng, 0, 4*tick)
		last, heard, told := now-pick(rng, 0, 3*tick), time.Duration(0), time.Duration(0)
		for told < n {
			now += one(rng, pick(rng, 1, tick), tick-now%tick, tick-now%tick+pick(rng, 0, tick/4), max(1, last+tick*3/4-now))
			due := ticksDue(now, last, tick, most)
			if due > 0 {
				last = now
			}
			if heard > 0 {
				told += due
			} else if rng.IntN(3) == 0 {
				heard = now // in the same turn
			}
		}
		if took := now - heard; took < n*tick*3/4 {
			t.Fatalf("%d ticks took %v", n, took)
		}
	}
}
