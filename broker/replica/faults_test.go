package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// Faults that other systems had in replication, each a test. The names say what must hold; the numbers are those of
// the list that the tests were made of.

// some runs seeds in which only some kinds of faults happen, and returns what they have seen.
func some(t *testing.T, from uint64, change func(*shape), kinds ...int) (sum counts) {
	t.Helper()
	if detector {
		t.Skip("the simulator is one goroutine: make test runs this without the race detector")
	}
	for i := range uint64(25) {
		s := simulate(t, from+i, func(sh *shape) {
			sh.kinds = kinds
			if sh.nodes == 1 {
				sh.nodes = 3
			}
			change(sh)
		})
		if t.Failed() {
			break
		}
		sum = sum.plus(s.stats)
	}
	return sum
}

// Answered before a majority had synced.
func TestPowerCutsOfOneAndOfAllLoseNothingAcknowledged(t *testing.T) {
	sum := some(t, 1000, func(sh *shape) { sh.level, sh.options.Level = wal.Synced, wal.Synced }, 2, 3, 4)
	if sum.cuts < 25 || sum.acked == 0 || sum.checked == 0 || sum.forgetful > 0 {
		t.Errorf("%+v", sum)
	}
}

// A node with an emptied log voted as before.
func TestAnEmptiedNodeComesBackUnderAnotherIDAndAsALearner(t *testing.T) {
	sum := some(t, 2000, func(sh *shape) { sh.trim, sh.apart = false, time.Second }, 12, 0)
	if sum.wiped == 0 || sum.rejoined < sum.wiped/2 {
		t.Errorf("%+v", sum)
	}
}

// A flipped bit on a minority lost acknowledged data.
func TestAFlippedBitIsNoticedAndCostsNothing(t *testing.T) {
	sum := some(t, 3000, func(*shape) {}, 11, 0)
	if sum.flips == 0 || sum.forgetful < sum.flips/2 {
		t.Errorf("%+v", sum)
	}
}

// The applied index was saved apart from the state that it stood for.
func TestStateAndIndexOfACheckpointAreOne(t *testing.T) {
	sum := some(t, 4000, func(sh *shape) { sh.trim = true }, 0, 1, 2, 8, 9)
	if sum.crashes == 0 || sum.acked == 0 {
		t.Errorf("%+v", sum)
	}
}

// A paused old leader's work was taken.
func TestAPausedLeaderAppendsNothingInAnotherReign(t *testing.T) {
	sum := some(t, 5000, func(sh *shape) { sh.apart = 4 * time.Second }, 7)
	if sum.reigns < 30 {
		t.Errorf("%+v", sum)
	}
}

// Messages left before what they say was saved; a record that could not be written was skipped.
func TestAFailedWriteStopsTheReplica(t *testing.T) {
	sum := some(t, 6000, func(*shape) {}, 8, 9)
	if sum.failures == 0 || sum.acked == 0 {
		t.Errorf("%+v", sum)
	}
}

// A replica behind the committed end led.
func TestWhoHasForgottenDoesNotLead(t *testing.T) {
	sum := some(t, 7000, func(sh *shape) { sh.level, sh.options.Level = wal.Written, wal.Written }, 2, 3, 10, 0)
	if sum.forgetful == 0 || sum.rejoined == 0 {
		t.Errorf("%+v", sum)
	}
}

// A cut-off minority removed a member on its own.
func TestWithoutAMajorityAChangeOfMembersFailsAndAltersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		defer c.close()
		l := c.leader()
		before, err := l.group.Status(t.Context())
		fatal(t, err)
		for _, r := range c.nodes[:3] {
			c.setCut(r != l, r.id)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err = l.group.Replace(ctx, c.nodes[l.id%3].id, 4)
		if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrMembers) {
			t.Errorf("a change without a majority: %v", err)
		}
		after, err := l.group.Status(t.Context())
		fatal(t, err)
		if fmt.Sprint(after.Applied.Members) != fmt.Sprint(before.Applied.Members) {
			t.Errorf("members %+v, before %+v", after.Applied.Members, before.Applied.Members)
		}
	})
}

// An idle cluster wrote an entry at each tick.
func TestAnIdleGroupWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		fatal(t, l.publish("the last"))
		time.Sleep(5 * time.Second)
		before, err := l.group.Status(t.Context())
		fatal(t, err)
		var records []uint64
		for _, r := range c.nodes {
			records = append(records, r.log.Stats().Records)
		}
		time.Sleep(10 * time.Minute)
		after, err := l.group.Status(t.Context())
		fatal(t, err)
		if after.Last != before.Last || after.Term != before.Term || l.lost > 0 {
			t.Errorf("in 10 minutes without work: entries %d to %d, term %d to %d", before.Last, after.Last, before.Term, after.Term)
		}
		for i, r := range c.nodes {
			if now := r.log.Stats().Records; now != records[i] {
				t.Errorf("replica %d has appended %d records to its log", r.id, now-records[i])
			}
		}
	})
}

// Changes dropped the majority.
func TestRemovingWhatMakesUpTheMajorityIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		defer c.close()
		l := c.leader()
		down, live := c.nodes[l.id%3], c.nodes[(l.id+1)%3]
		c.setCut(true, down.id)
		time.Sleep(3 * time.Second)
		if l.leads() == 0 {
			t.Fatal("the leader has lost the lead with a majority")
		}
		if err := l.group.Replace(t.Context(), live.id, 4); !errors.Is(err, ErrMembers) {
			t.Errorf("removing one of two that are left: %v", err)
		}
		fatal(t, l.group.Replace(t.Context(), down.id, 4))
		fatal(t, l.publish("goes on"))
	})
}

// Adding a wrong address changed the quorum at once.
func TestAReplicaThatCannotBeReachedChangesNoQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		down := c.nodes[l.id%3]
		c.setCut(true, down.id)
		time.Sleep(2 * time.Second)
		fatal(t, l.group.Replace(t.Context(), down.id, 99))
		fatal(t, l.publish("two are enough"))
		if err := l.group.Promote(t.Context(), 99); !errors.Is(err, ErrBehind) {
			t.Errorf("who was never heard of is to vote: %v", err)
		}
	})
}

// Ids were used again, and a late request of one that was removed brought it back.
func TestWhoWasRemovedIsNotListenedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		defer c.close()
		l := c.leader()
		old := c.nodes[l.id%3]
		fatal(t, l.group.Replace(t.Context(), old.id, 4))
		time.Sleep(500 * time.Millisecond) // until then both sets decide together
		before, err := l.group.Status(t.Context())
		fatal(t, err)
		for _, kind := range []raftpb.MessageType{raftpb.MsgVote, raftpb.MsgPreVote, raftpb.MsgAppResp, raftpb.MsgApp, raftpb.MsgHeartbeat} {
			fatal(t, l.group.Step(t.Context(), old.id, Control, encode(&raftpb.Message{Type: kind.Enum(), From: new(old.id), To: new(l.id), Term: new(before.Term + 50),
				Index: new(uint64(1 << 40)), LogTerm: new(before.Term + 50), Context: []byte(campaignTransfer)})))
		}
		fatal(t, l.publish("goes on"))
		if after, err := l.group.Status(t.Context()); err != nil || after.Term != before.Term || after.Reign == 0 {
			t.Errorf("term %d, reign %d: %v", after.Term, after.Reign, err)
		}
		if err := l.group.Replace(t.Context(), 4, old.id); !errors.Is(err, ErrMembers) {
			t.Errorf("an id comes back: %v", err)
		}
		time.Sleep(5 * time.Second)
		old.mu.Lock()
		defer old.mu.Unlock()
		if old.stopped != nil && !errors.Is(old.stopped, ErrRemoved) {
			t.Errorf("the one that was removed: %v", old.stopped)
		}
	})
}

// A node that comes back threw the leader out.
func TestANodeThatWasCutOffForAMinuteLeavesTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		term := l.leads()
		away := c.nodes[l.id%3]
		c.setCut(true, away.id)
		time.Sleep(time.Minute)
		fatal(t, l.publish("meanwhile"))
		c.setCut(false, away.id)
		time.Sleep(10 * time.Second)
		if l.leads() != term || !slices.Equal(away.told(), []string{"meanwhile"}) {
			t.Errorf("the leader of term %d leads in term %d, and the other was told of %q", term, l.leads(), away.told())
		}
	})
}

// A log that had lost its tail went on. The leader knows what this replica had acknowledged, and says so with
// each heartbeat.
func TestAReplicaThatLacksWhatItAcknowledgedStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		fatal(t, l.publish("x"))
		time.Sleep(time.Second)
		follower := c.nodes[l.id%3]
		s, err := follower.group.Status(t.Context())
		fatal(t, err)
		beat := func(term, commit uint64) {
			t.Helper()
			fatal(t, follower.group.Step(t.Context(), l.id, Control, encode(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(l.id), To: new(follower.id),
				Term: new(term), Commit: new(commit)})))
			time.Sleep(time.Second)
		}
		beat(s.Term-1, s.Last+1) // of a leader that is none any more
		if s, err := follower.group.Status(t.Context()); err != nil || s.Err != nil {
			t.Fatalf("%v, %v", s.Err, err)
		}
		beat(s.Term, s.Last+1)
		s, err = follower.group.Status(t.Context())
		follower.mu.Lock()
		defer follower.mu.Unlock()
		if err != nil || !errors.Is(s.Err, ErrForgetful) || !errors.Is(follower.stopped, ErrForgetful) {
			t.Errorf("status %v, owner %v, %v", s.Err, follower.stopped, err)
		}
	})
}

// A state older than what the log begins with was accepted.
func TestALogThatEndsBelowItsCheckpointIsNotGoneOnWith(t *testing.T) {
	var r Recovery
	fatal(t, r.Replay(record(1, journal.KindEntry, entryRecord(2, 1, 1))))
	start := Start{Group: simGroup, Replica: 1, Generation: 1, Applied: Point{Index: 5, Term: 1}, Back: Point{Index: 1, Term: 1}}
	h := r.History(start, wal.Synced, &wal.Report{})
	if err := h.Check(); !errors.Is(err, ErrForgetful) || !strings.Contains(err.Error(), "ends at entry 2, and 5 was committed") {
		t.Errorf("%v", err)
	}
	if h.Last() != 5 { // what the checkpoint has is kept
		t.Errorf("it goes on from entry %d", h.Last())
	}
	log, _, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "/log", FileSize: 256 << 10}, func(wal.Entry) error { return nil })
	fatal(t, err)
	defer log.Close()
	if _, err := newMachine(Options{Log: log}, h); !errors.Is(err, ErrForgetful) {
		t.Errorf("a machine is made of it: %v", err)
	}
}

func record(at int64, kind journal.Kind, data []byte) wal.Entry {
	return wal.Entry{At: wal.Offset{File: 1, Offset: at}, Kind: byte(kind), Data: data}
}

func entryRecord(index, term, prev uint64) []byte {
	return journal.AppendEntry(nil, journal.Entry{Group: simGroup, Term: term, Prev: prev, Index: index, Type: journal.EntryNothing})
}

// hung is a log whose writes wait for the gate, if there is one.
type hung struct {
	Log
	gate *atomic.Pointer[chan struct{}]
}

func (h hung) Commit(at wal.Offset, level wal.Level) error {
	if gate := h.gate.Load(); gate != nil {
		<-*gate
	}
	return h.Log.Commit(at, level)
}

// Without a quorum the log grew without end. The followers are there, and their disks take nothing: what is not committed has a bound, and is
// refused behind it; once they do, all of it is committed.
func TestWhatIsNotCommittedHasABound(t *testing.T) {
	const bound, size = 1 << 20, 100 << 10
	synctest.Test(t, func(t *testing.T) {
		var gates []*atomic.Pointer[chan struct{}]
		c := newCluster(t, 3, 0, func(o *Options) {
			gates = append(gates, new(atomic.Pointer[chan struct{}]))
			o.Uncommitted, o.Log = bound, hung{o.Log, gates[len(gates)-1]}
		})
		defer c.close()
		l, opened := c.leader(), make(chan struct{})
		for _, r := range c.nodes {
			if r != l {
				gates[r.id-1].Store(&opened)
			}
		}
		term, taken := l.leads(), 0
		for began := time.Now(); time.Since(began) < time.Minute; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := l.group.Room(ctx)
			cancel()
			if err != nil {
				if !errors.Is(err, ErrReplicasBehind) {
					t.Fatal(err)
				}
				continue
			}
			if _, err := l.group.Append(term, journal.KindPublish, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			taken++
		}
		if s, err := l.group.Status(t.Context()); err != nil || s.Reign != term || s.Uncommitted < bound || s.Uncommitted > bound+2*size {
			t.Errorf("%+v, %v", s, err)
		}
		close(opened)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(l.told()); n != taken || taken > bound/size+2 {
			t.Errorf("%d were taken, and %d are committed", taken, n)
		}
	})
}
