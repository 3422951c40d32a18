package replica

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/wal"
)

// settleChange has a change of members made, as it is busy or behind for a while.
func settleChange(t *testing.T, change func(context.Context) error) {
	t.Helper()
	for range 200 {
		err := change(t.Context())
		if err == nil {
			return
		}
		if !errors.Is(err, ErrBusy) && !errors.Is(err, ErrBehind) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the change is not made")
}

// A replica is added as a learner, votes when it has caught up, stops voting, and goes; who leads does neither.
func TestMembersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, nil)
		defer c.close()
		l := c.leader()
		fatal(t, l.publish("one"))
		members := func() (voters, learners []uint64) {
			s, err := l.group.Status(t.Context())
			fatal(t, err)
			slices.Sort(s.Applied.Members.Voters)
			return s.Applied.Members.Voters, s.Applied.Members.Learners
		}
		settleChange(t, func(ctx context.Context) error { return l.group.Add(ctx, 4) })
		if v, learners := members(); len(v) != 3 || !slices.Equal(learners, []uint64{4}) {
			t.Errorf("added: %v vote, %v follow", v, learners)
		}
		settleChange(t, func(ctx context.Context) error { return l.group.Promote(ctx, 4) })
		if v, _ := members(); !slices.Equal(v, []uint64{1, 2, 3, 4}) {
			t.Errorf("promoted: %v vote", v)
		}
		other := l.id%3 + 1
		settleChange(t, func(ctx context.Context) error { return l.group.Demote(ctx, other) })
		if v, learners := members(); len(v) != 3 || slices.Contains(v, other) || !slices.Contains(learners, other) {
			t.Errorf("demoted %d: %v vote, %v follow", other, v, learners)
		}
		for name, err := range map[string]error{
			"the leader goes":          l.group.Remove(t.Context(), l.id),
			"the leader follows":       l.group.Demote(t.Context(), l.id),
			"a learner is demoted":     l.group.Demote(t.Context(), other),
			"an id is used once more":  l.group.Add(t.Context(), 2),
			"somebody unknown is gone": l.group.Remove(t.Context(), 9),
		} {
			if !errors.Is(err, ErrMembers) {
				t.Errorf("%s: %v", name, err)
			}
		}
		settleChange(t, func(ctx context.Context) error { return l.group.Remove(ctx, other) })
		if v, learners := members(); len(v)+len(learners) != 3 {
			t.Errorf("removed: %v vote, %v follow", v, learners)
		}
		fatal(t, l.publish("two"))
	})
}

// A replica that is behind the beginning of all logs begins behind a checkpoint of another one, with the votes that it has
// given, and goes on from there; the leader finds out what it has.
func TestAReplicaThatIsBehindBeginsBehindACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 0, nil)
		defer c.close()
		l := c.leader()
		late := c.nodes[l.id%3]
		c.setCut(true, late.id)
		for range 20 {
			fatal(t, l.publish("while it is away"))
		}
		s, err := l.group.Status(t.Context())
		fatal(t, err)
		time.Sleep(time.Second) // the other one has heard what is committed
		for _, r := range c.nodes {
			if r != late {
				fatal(t, r.group.Compact(t.Context(), s.Applied, true))
			}
		}
		fatal(t, l.publish("after the checkpoint"))
		late.group.Close()
		vote := late.group.m.log.said
		was := Start{Group: simGroup, Replica: late.id, Generation: 1}
		if _, _, err := late.group.Rebase(was, Point{Index: 1, Term: 1}); !errors.Is(err, ErrNotBehind) {
			t.Errorf("with a checkpoint that is older than its log: %v", err)
		}
		start, h, err := late.group.Rebase(was, s.Applied)
		fatal(t, err)
		if h.hard.term < vote.term || h.hard.term == vote.term && h.hard.vote != vote.vote || start.Replica != late.id || start.Generation != 2 || h.Last() != s.Applied.Index {
			t.Errorf("it begins with %+v and has said %+v", h.hard, vote)
		}
		late.mu.Lock()
		late.records = make([]string, s.Applied.Record) // which the checkpoint stands for
		late.mu.Unlock()
		late.group, err = New(Options{Log: late.log, Level: wal.Synced}, h, late, late)
		fatal(t, err)
		late.group.Start()
		c.setCut(false, late.id)
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			if st, err := late.group.Status(t.Context()); err == nil && st.Applied.Record == s.Applied.Record+1 {
				break
			}
		}
		st, err := late.group.Status(t.Context())
		fatal(t, err)
		if st.Applied.Record != s.Applied.Record+1 {
			t.Errorf("it has %d records of %d", st.Applied.Record, s.Applied.Record+1)
		}
	})
}

// A log that was read again says of a replica that began anew what it says itself; and before the manifest names that, what it was.
func TestRebaseCountsWithItsGeneration(t *testing.T) {
	var r Recovery
	log := &recording{r: &r}
	at := Point{Index: 1, Term: 1}
	at.Members.Voters = []uint64{1, 2, 3}
	first, err := Begin(log, simGroup, 2, 1, at)
	fatal(t, err)
	g, err := New(Options{Log: log, Level: wal.Synced}, r.History(first, wal.Synced, &wal.Report{}), nil, nil)
	fatal(t, err)
	g.m.log.said = hard{term: 7, vote: 3}
	to := Point{Index: 40, Term: 5, Record: 30, Members: at.Members}
	second, want, err := g.Rebase(first, to)
	fatal(t, err)
	if got := r.History(second, wal.Synced, &wal.Report{}); got.hard != want.hard || got.Last() != 40 || got.commit != 40 || got.Check() != nil || got.base.Index != 40 {
		t.Errorf("read again: %+v of %+v", got, want)
	}
	// Entries that are the checkpoint's stay, and those behind them, which it may have acknowledged; others do not.
	g.m.log.said = hard{term: 7, vote: 3}
	var w write
	for i, term := range []uint64{5, 5, 6} {
		fatal(t, g.m.log.appendEntry(appends(term, uint64(2+i), 1, 1).Entries[0], &w))
	}
	third, kept, err := g.Rebase(first, Point{Index: 3, Term: 5, Record: 0, Members: at.Members})
	fatal(t, err)
	if got := r.History(third, wal.Synced, &wal.Report{}); third.Generation != 1 || got.Last() != 4 || kept.Last() != 4 || got.commit != 3 || got.hard != (hard{7, 3}) || got.Check() != nil {
		t.Errorf("with entries that are the checkpoint's: %+v of %+v", got, third)
	}
	fourth, cut, err := g.Rebase(first, Point{Index: 3, Term: 6, Record: 0, Members: at.Members})
	fatal(t, err)
	if got := r.History(fourth, wal.Synced, &wal.Report{}); fourth.Generation != 2 || got.Last() != 3 || cut.Last() != 3 || got.hard != (hard{7, 3}) {
		t.Errorf("with entries that are not: %+v of %+v", got, fourth)
	}
	if got := r.History(first, wal.Synced, &wal.Report{}); got.hard != (hard{7, 3}) || got.Last() != 4 || got.Check() != nil {
		t.Errorf("before it counts: %+v", got)
	}
}

// recording is a log that hands what is appended to a Recovery.
type recording struct {
	paperLog
	r *Recovery
}

func (l *recording) Append(kind byte, data ...[]byte) (wal.Offset, error) {
	at, err := l.paperLog.Append(kind, data...)
	var all []byte
	for _, d := range data {
		all = append(all, d...)
	}
	if err == nil {
		err = l.r.Replay(wal.Entry{At: at, Kind: kind, Data: all})
	}
	return at, err
}
