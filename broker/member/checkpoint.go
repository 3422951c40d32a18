package member

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"brokerd/broker/replica"
	"brokerd/diskqueue/manifest"
)

// kept is what a checkpoint of a group has made of it. done is called once it counts, with Member.mu held.
type kept struct {
	start *replica.Start
	file  manifest.GroupCheckpoint
	done  func()
	named func() // called once the manifest says so, unless it is nil; not with Member.mu held
}

// checkpointGroups writes down what groups of topics are now, where that is worth it, and returns what is to be entered in the manifest.
func (m *Member) checkpointGroups(ctx context.Context) map[uint32]kept {
	all := map[uint32]kept{}
	for _, h := range m.held() {
		m.mu.Lock()
		g, s, start, file := h.group, h.shard, m.saved.Groups[h.number], m.files[h.number]
		m.mu.Unlock()
		var k *kept
		switch {
		case start == nil:
		case start.Forgetful != "":
			k = m.letGo(h, *start, file)
		case g != nil:
			k = m.checkpointGroup(ctx, h, g, s, *start, file)
		}
		if k != nil {
			all[h.number] = *k
		}
	}
	return all
}

// checkpointGroup writes down what a group of topics is now, if that is worth it; nil when there is nothing to enter in the manifest.
func (m *Member) checkpointGroup(ctx context.Context, h *holding, g *replica.Group, s Shard, next replica.Start, file manifest.GroupCheckpoint) *kept {
	done, named := func() {}, (func())(nil)
	switch at := s.Point(); {
	case at.Index == next.Applied.Index && !m.frees(s): // an idle group holds nothing back
		next.Back = next.Applied
	case m.worthIt(h, s):
		content, at, counts, err := s.Content()
		if err != nil {
			break // it is in the middle of something: the next one has it
		}
		written, err := m.o.Store.WriteGroup(h.number, packHead(at), content)
		if m.report(fmt.Sprint("a checkpoint of group ", h.number), err); err != nil {
			m.mu.Lock()
			h.failed = time.Now()
			m.mu.Unlock()
			if m.tight.own.Load() {
				next.Back = next.Applied
			}
			break // others' need less of the disk, and may free some of it
		}
		file = written
		_, applied := s.Bytes()
		wrote := m.o.Journal.Stats().Bytes
		next.Applied, next.Back = at, next.Applied
		done, named = func() { h.counted, h.stood = applied, wrote }, counts
	case m.tight.own.Load(): // the log is what lacks, and its checkpoint is on the disk
		next.Back = next.Applied
	}
	var err error
	if may, forced := m.mayCut(h, next.Back.Index); may {
		err = m.cut(ctx, h, g, next.Back, forced)
	}
	if err == nil {
		next.From, _, err = g.Remember(ctx) // the broker's own checkpoint syncs the log
	}
	if err != nil {
		return nil // it is ending; what the manifest says stays right
	}
	return &kept{&next, file, done, named}
}

// cut lets go of a group's log up to a point. Where the group knows better than this node that a replica lacks some of it, nothing goes: then that is noted,
// until who leads says what all have.
func (m *Member) cut(ctx context.Context, h *holding, g *replica.Group, to replica.Point, forced bool) error {
	err := g.Compact(ctx, to, forced)
	var st replica.Status
	if err == nil {
		st, err = g.Status(ctx)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.cut = st.Base; h.cut < to.Index {
		h.least = max(st.Base, 1)
	}
	return nil
}

// mayCut reports whether the group's log may end before an entry; forced: whatever replicas lack.
func (m *Member) mayCut(h *holding, index uint64) (may, forced bool) {
	most := m.o.Behind
	if m.tight.own.Load() {
		most = min(most, tightBehind)
	}
	forced = m.o.Journal.Stats().FileBytes > most
	return !m.keepsBehind(h) && (forced || !m.lacked(h, index)), forced
}

// mostKept is how large the node's log may be because a replica is being sent all that there is: it needs what comes behind that.
const mostKept = 4 << 30

// keepsBehind reports whether the group's log is kept as it is, for replicas that are being sent all that there is, and for a while afterwards.
func (m *Member) keepsBehind(h *holding) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (len(h.sending) > 0 || time.Now().Before(h.behind)) && m.o.Journal.Stats().FileBytes < mostKept
}

// lacked reports whether a replica may lack something before an entry.
func (m *Member) lacked(h *holding, index uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return h.least > 0 && h.least < index
}

// Owes is storage.Groups'.
func (m *Member) Owes() bool {
	for _, h := range m.held() {
		m.mu.Lock()
		g, s, start := h.group, h.shard, m.saved.Groups[h.number]
		m.mu.Unlock()
		if g != nil && s != nil && start != nil && start.Forgetful == "" && (m.frees(s) || m.owesLog(h, s, start)) {
			return true
		}
	}
	return false
}

// owesLog reports whether a checkpoint would let go of log that a group holds back although it need not, while the disk is short of room: all that a
// checkpoint may stand for, and what was kept for others that lacked it. Publishes are refused then, so that the log does not grow to where one is due anyway.
func (m *Member) owesLog(h *holding, s Shard, start *replica.Start) bool {
	switch {
	case !m.tight.own.Load():
		return false
	case m.worthTheLog(h, s) || start.Back.Index < start.Applied.Index:
		return true
	}
	m.mu.Lock()
	uncut := h.cut < start.Back.Index
	m.mu.Unlock()
	if !uncut {
		return false
	}
	may, _ := m.mayCut(h, start.Back.Index)
	return may
}

// frees reports whether so much comes free with a checkpoint of a group that it is to be written for that alone.
func (m *Member) frees(s Shard) bool {
	free, moved := s.Frees()
	if !moved && free < muchFreed && m.tight.own.Load() && free > 0 {
		held, _ := s.Bytes()
		return free >= held/2
	}
	return moved || free >= muchFreed
}

// Compact is storage.Groups'.
func (m *Member) Compact(ctx context.Context, read func(bytes int) error) (done bool, err error) {
	for _, h := range m.held() {
		m.mu.Lock()
		s := h.shard
		m.mu.Unlock()
		if s == nil {
			continue
		}
		some, failed := s.Compact(ctx, read)
		done = done || some
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("group %d: %w", h.number, failed))
		}
	}
	return done, err
}

// muchFreed is how many bytes that come free on the disk make a checkpoint worth writing, whatever was applied.
const muchFreed = 32 << 20

// mostForgotten is how large the node's log may be because of a replica that may have forgotten something: what it has there it may come back
// with, but the others have all that.
const mostForgotten = 1 << 30

// letGo has a replica that does not run any more hold back nothing of a large log; what its checkpoint has is kept.
func (m *Member) letGo(h *holding, next replica.Start, file manifest.GroupCheckpoint) *kept {
	if m.o.Journal.Stats().FileBytes < mostForgotten {
		return nil
	}
	m.o.Log.Warn("what a replica of a group of topics has in the log behind its checkpoint is let go of: it does not run, and the log is large", "group", h.number)
	next.From = m.o.Journal.End()
	return &kept{start: &next, file: file, done: func() {}}
}

// worthIt reports whether a checkpoint of a group is worth writing: it has little, or much was applied since the last one, or much was written
// to the node's log, by whomever, that the group holds back.
func (m *Member) worthIt(h *holding, s Shard) bool {
	held, applied := s.Bytes()
	m.mu.Lock()
	counted := h.counted
	m.mu.Unlock()
	return held <= leastWorth || applied-counted >= held/2 || m.worthTheLog(h, s) || m.frees(s)
}

// worthTheLog reports whether a checkpoint of a group is worth what it lets go of the log later.
func (m *Member) worthTheLog(h *holding, s Shard) bool {
	held, _ := s.Bytes()
	m.mu.Lock()
	wrote, rests := int64(m.o.Journal.Stats().Bytes-h.stood), time.Since(h.failed) < failedRest
	m.mu.Unlock()
	switch {
	case rests:
		return false
	case m.tight.own.Load():
		return wrote >= max(tightHeldBack, held)
	}
	return wrote >= max(leastHeldBack, held/2)
}

const (
	// leastWorth is how many bytes of messages a checkpoint has that is written at any time. One that has more is written when entries of half as
	// many bytes were applied since the last one: about so much of the log it lets go.
	leastWorth = 1 << 20
	// leastHeldBack is how many bytes of the node's log a group may hold back in any case.
	leastHeldBack = 64 << 20
	// tightHeldBack is the same while the disk is short of room, where a checkpoint must not take more than it gives: a file of the log.
	tightHeldBack = 8 << 20
	// tightBehind is how large the node's log is, in bytes and whatever is in it, from which on nothing more is kept for replicas that lack it while the disk
	// is short of room, see Options.Behind: that all publishes are refused is worse than that one of three is sent all that there is.
	tightBehind = 4 * tightHeldBack
	// failedRest is for how long the log is no reason for a checkpoint of a group after one could not be written.
	failedRest = 10 * time.Second
)

// enterGroups enters in what is saved what checkpoints have made of groups. One that has begun elsewhere meanwhile has nothing of it.
// It returns what is to be called once the manifest says so. Member.mu is held.
func (m *Member) enterGroups(all map[uint32]kept) (entered []func()) {
	for number, k := range all {
		start := m.saved.Groups[number]
		if start == nil || start.Forgetful != k.start.Forgetful || start.Generation != k.start.Generation || start.Applied.Index > k.start.Applied.Index {
			continue
		}
		m.saved.Groups[number], m.files[number] = k.start, k.file
		k.done()
		if k.named != nil {
			entered = append(entered, k.named)
		}
	}
	return entered
}

// packHead returns what the file of a group's checkpoint has before its content: the size of the point, u32, and the point as JSON.
func packHead(at replica.Point) []byte {
	b, err := json.Marshal(at)
	if err != nil {
		panic(fmt.Sprintf("member: a point cannot be encoded: %v", err)) // numbers only
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func unpack(b []byte) (at replica.Point, content []byte, err error) {
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return at, nil, errors.New("the checkpoint of a group: it is cut")
	}
	n := binary.BigEndian.Uint32(b)
	if err := json.Unmarshal(b[4:4+n], &at); err != nil || at.Index == 0 || len(at.Members.Voters) == 0 {
		return at, nil, fmt.Errorf("the checkpoint of a group: its point says nothing: %w", err)
	}
	return at, b[4+n:], nil
}
