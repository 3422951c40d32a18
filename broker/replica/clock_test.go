package replica

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
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
		if n := beats.Load() - before; n < 39 || n > 41 {
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

// Groups of a node beat at the same moments, every second tick of their clock. Heartbeats and their answers wait for that, but for the first answer of a term.
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
		for _, c := range []*cluster{a, b} {
			c.leader()
		}
		time.Sleep(4 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		now, first, late, soon := clock.now(), 0, 0, 0
		for _, s := range all {
			switch {
			case s.kind == raftpb.MsgHeartbeat && (s.leaves == Now || s.at%(2*clock.tick) != 0):
				t.Fatalf("a heartbeat at %v leaves %d", s.at, s.leaves)
			case s.kind == raftpb.MsgHeartbeatResp && s.leaves == Now:
				first++
			case s.kind == raftpb.MsgHeartbeatResp && s.leaves == Later:
				late++
			case s.kind == raftpb.MsgHeartbeatResp: // somebody else had the turn
				soon++
			}
		}
		lately := 0
		for _, s := range all {
			if s.kind == raftpb.MsgHeartbeat && s.at > now-2*time.Second {
				lately++
			}
		}
		if lately < 2*2*19 || lately > 2*2*21 || first < 4 || first > 20 || late == 0 {
			t.Errorf("%d heartbeats in 2 s, and of the answers in all %d left at once, %d soon and %d later", lately, first, soon, late)
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
