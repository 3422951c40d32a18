package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/wal"
)

// Replace has a new replica, a learner at first, take the place of another one. Its id must be higher than all that
// there ever were. It returns nil when that is committed, from when on both sets of members decide together until the
// leader, by itself, ends that; after ErrNotLeader or the context's error it may be or not.
func (g *Group) Replace(ctx context.Context, old, id uint64) error {
	return g.membership(ctx, func(now time.Duration, done func(error)) { g.m.replace(old, id, now, done) })
}

// Promote has a learner vote, once it has all that there was when that was first asked. It returns ErrBehind when it
// has not, and otherwise as Replace does.
func (g *Group) Promote(ctx context.Context, id uint64) error {
	return g.membership(ctx, func(now time.Duration, done func(error)) { g.m.promote(id, now, done) })
}

// Add has a new replica follow, a learner at first. Its id must be higher than all that there ever were. It returns as
// Replace does.
func (g *Group) Add(ctx context.Context, id uint64) error {
	return g.membership(ctx, func(now time.Duration, done func(error)) { g.m.add(id, now, done) })
}

// Remove removes a replica, which must not be the leader: its id is used up. It returns as Replace does.
func (g *Group) Remove(ctx context.Context, id uint64) error {
	return g.membership(ctx, func(now time.Duration, done func(error)) { g.m.drop(id, false, now, done) })
}

// Demote has a replica that votes be a learner. It returns as Replace does.
func (g *Group) Demote(ctx context.Context, id uint64) error {
	return g.membership(ctx, func(now time.Duration, done func(error)) { g.m.drop(id, true, now, done) })
}

func (g *Group) membership(ctx context.Context, begin func(time.Duration, func(error))) error {
	result := make(chan error, 1)
	if err := g.call(ctx, func(now time.Duration) { begin(now, func(err error) { result <- err }) }); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-g.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// HandOver has another replica lead. From now on nothing is appended or delivered here; it returns when the other was
// told, not when it leads. If it does not within two election timeouts this replica goes on.
func (g *Group) HandOver(ctx context.Context, to uint64) (err error) {
	callErr := g.call(ctx, func(time.Duration) {
		if err = g.m.hand(to); err == nil {
			g.leased.Store(0)
		}
	})
	return errors.Join(callErr, err)
}

// Yield is HandOver to the replica that lacks least, if there is one that may lead.
func (g *Group) Yield(ctx context.Context) (err error) {
	callErr := g.call(ctx, func(time.Duration) {
		to := uint64(0)
		if g.m.err == nil {
			to, _ = g.m.successor()
		}
		if err = g.m.hand(to); err == nil {
			g.leased.Store(0)
		}
	})
	return errors.Join(callErr, err)
}

// ForgetLeader says that the leader is dead, for which there must be proof: followers elect another one without
// waiting for a timeout.
func (g *Group) ForgetLeader(ctx context.Context) error {
	return g.call(ctx, func(time.Duration) {
		g.m.guard(func() error { return g.m.node.ForgetLeader() })
	})
}

// Campaign has this replica stand for election now, if it knows no leader: after ForgetLeader, for one.
func (g *Group) Campaign(ctx context.Context) error {
	return g.call(ctx, func(time.Duration) {
		g.m.guard(func() error {
			if g.m.node.BasicStatus().Lead != 0 {
				return nil
			}
			return g.m.node.Campaign()
		})
	})
}

// Status is what a replica knows of its group.
type Status struct {
	ID, Term, Lead uint64 // Lead: 0 when none is known
	Reign          uint64 // the term in which this replica leads and takes records; 0: it does not
	Applied        Point
	Base, Last     uint64            // the log begins behind Base, and ends at Last
	Match          map[uint64]uint64 // of a leader: up to which entry each replica is known to be equal
	Active         map[uint64]bool   // of a leader: whether each has answered within the last election timeout
	Unsafe         int               // writes that are waited for
	Uncommitted    int               // of a leader: bytes of records that are not committed
	Err            error             // why it does nothing
}

// Status returns what the replica knows.
func (g *Group) Status(ctx context.Context) (s Status, err error) {
	err = g.call(ctx, func(now time.Duration) {
		m := g.m
		s = Status{ID: m.id, Reign: m.reign, Applied: m.applied, Base: m.log.base.Index, Last: m.log.last(), Unsafe: len(m.waiting),
			Uncommitted: m.batch.size(), Err: m.err}
		if m.err != nil {
			return
		}
		st := m.node.BasicStatus()
		s.Term, s.Lead = st.GetTerm(), st.Lead
		if st.RaftState == raft.StateLeader {
			s.Match, s.Active = map[uint64]uint64{}, map[uint64]bool{}
			m.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker) {
				s.Match[id], s.Active[id] = pr.Match, id == m.id || pr.RecentActive || m.lease.heard[id] > now // the engine begins anew with each election timeout
			})
		}
	})
	return s, err
}

// Remember prepares a checkpoint of what was told up to a point: it writes down what the checkpoint does not have,
// and returns from where on the node's log belongs to it, and up to where the log must be synced before it counts.
func (g *Group) Remember(ctx context.Context) (from, sync wal.Offset, err error) {
	callErr := g.call(ctx, func(time.Duration) { from, sync, err = g.m.log.remember() })
	return from, sync, errors.Join(callErr, err)
}

// Compact lets go of entries up to a point that the older of two checkpoints covers. It does nothing while they
// are not told, nor, unless forced, while a replica is not known to have them: see Status. One that lacks them then needs a checkpoint of another node: see
// Rebase.
func (g *Group) Compact(ctx context.Context, to Point, forced bool) error {
	return g.call(ctx, func(time.Duration) {
		if most := g.m.held(); to.Index <= most || forced && to.Index <= g.m.applied.Index {
			g.m.log.compact(to)
		}
	})
}

// ErrNotBehind is a checkpoint that a replica does not need.
var ErrNotBehind = errors.New("the replica has what the checkpoint has")

// Rebase has a replica, whose Group is closed and which began with a Start, begin with a checkpoint of another node: it lacks
// entries that others have no more, or cannot tell that those that it has are committed. What it has voted stays, and so do
// entries that it may have acknowledged. It counts when the manifest has the Start that is returned, and before that says
// nothing. It waits for the disk, and returns ErrNotBehind when all that the checkpoint stands for was told.
func (g *Group) Rebase(start Start, at Point) (Start, *History, error) {
	l := g.m.log
	if at.Index <= g.m.applied.Index {
		return Start{}, nil, ErrNotBehind
	}
	if term, err := l.Term(at.Index); err == nil && term == at.Term { // then all before it is as the others have it
		h, err := g.Again(start)
		if err != nil {
			return Start{}, nil, err
		}
		h.start.Applied, h.commit = at, max(h.commit, at.Index)
		return h.start, h, nil
	}
	h := l.said
	if h.term < at.Term {
		h = hard{term: at.Term}
	}
	start = Start{Group: l.group, Replica: g.id, Generation: start.Generation + 1, Applied: at, Back: at}
	var off wal.Offset
	var err error
	start.From, err = l.log.Append(byte(journal.KindBase), journal.AppendBase(nil, journal.Base{Group: l.group, Generation: start.Generation, Index: at.Index,
		Term: at.Term, Record: at.Record, Members: at.Members}))
	if err == nil { // a commit that the log does not reach would say of the generation before that it has forgotten something
		off, err = l.log.Append(byte(journal.KindVote), journal.AppendVote(nil, journal.Vote{Group: l.group, Term: h.term, Vote: h.vote,
			Commit: min(l.commit, l.safe)}))
	}
	if err == nil {
		err = l.log.Commit(off, wal.Synced)
	}
	if err != nil {
		return Start{}, nil, fmt.Errorf("begin the log of group %d anew: %w", l.group, err)
	}
	return start, &History{start: start, base: at, hard: h, commit: at.Index}, nil
}

// Again returns with what a replica whose Group is closed can begin again, as what it was: all that it has told is known to its
// owner. It waits for the disk.
func (g *Group) Again(start Start) (*History, error) {
	m := g.m
	if Final(m.err) {
		return nil, m.err
	}
	from, err := m.prove()
	if err != nil {
		return nil, fmt.Errorf("begin group %d again: %w", m.log.group, err)
	}
	start.Applied, start.Back, start.From = m.applied, m.log.base, from
	return &History{start: start, base: m.log.base, table: m.log.table, hard: m.log.said, commit: m.log.commit}, nil
}
