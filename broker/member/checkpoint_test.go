package member

import (
	"strings"
	"testing"
	"time"

	"brokerd/broker/replica"
)

// holdingOf returns a node's holding of a group.
func (n *node) holdingOf(group uint32) *holding {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	return n.m.holdings[group]
}

// A node that has not been told what replicas lack, as after its start, lets its group's log go only as far as the group knows that all have it, and notes that
// some lack what is behind: it does not try with each checkpoint. When it must be, all goes.
func TestTheLogIsCutNoFurtherThanAllHaveIt(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t, func(n *node) { n.behind = 1 << 30 })
		write(t, nodes, group, "a")
		sameNotes(t, nodes, group, "a")
		nodes[2].kill()
		rest := nodes[:2]
		write(t, rest, group, "b")
		sameNotes(t, rest, group, "a", "b")
		n := leading(t, rest, group)
		h, s := n.holdingOf(group), n.shard(group)
		cut := func(forced bool) (at, least uint64) {
			t.Helper()
			n.m.mu.Lock()
			h.least = 0
			n.m.mu.Unlock()
			if err := n.m.cut(t.Context(), h, s.group, s.Point(), forced); err != nil {
				t.Fatal(err)
			}
			n.m.mu.Lock()
			defer n.m.mu.Unlock()
			return h.cut, h.least
		}
		base := func() uint64 {
			st, err := s.group.Status(t.Context())
			fatal(t, err)
			return st.Base
		}
		before := base()
		if at, least := cut(false); at != before || base() != before || least != max(before, 1) {
			t.Errorf("of a log that begins behind %d it went up to %d, and up to %d all are noted to have it", before, at, least)
		}
		if may, _ := n.m.mayCut(h, s.Point().Index); may {
			t.Error("it is tried again at once")
		}
		if at, least := cut(true); at != s.Point().Index || base() != at || least != 0 {
			t.Errorf("when it must be it went up to %d of %d, and up to %d all are noted to have it", at, s.Point().Index, least)
		}
	})
}

// After a checkpoint of a group could not be written the log is no reason for another one for a while: it may be as large as the disk has room for.
func TestACheckpointThatFailedIsNotTriedAgainAtOnce(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, group := begin(t)
		n := nodes[0]
		n.m.Tight(true)
		for range tightHeldBack>>20 + 1 {
			write(t, nodes, group, strings.Repeat("x", 1<<20))
		}
		sameNotes(t, nodes, group)
		h, s := n.holdingOf(group), n.shard(group)
		if !n.m.worthTheLog(h, s) {
			t.Fatal("the log is no reason for a checkpoint: this test proves nothing")
		}
		n.shelf.mu.Lock()
		n.shelf.left = 0
		n.shelf.mu.Unlock()
		if _, _, err := n.m.Checkpoint(); err != nil {
			t.Errorf("others' checkpoints fail with that of the group: %v", err)
		}
		n.shelf.mu.Lock()
		fails := n.shelf.fails
		n.shelf.left = -1
		n.shelf.mu.Unlock()
		if !fails {
			t.Error("no checkpoint was to be written: this test proves nothing")
		}
		if n.m.worthTheLog(h, s) {
			t.Error("it is tried again at once")
		}
		time.Sleep(failedRest - time.Second)
		if n.m.worthTheLog(h, s) {
			t.Errorf("it is tried again before %v", failedRest)
		}
		time.Sleep(time.Second)
		if !n.m.worthTheLog(h, s) {
			t.Errorf("it is not tried again after %v", failedRest)
		}
	})
}

// Who leads without room gives the lead only to a replica with which the group takes more: that has room, as most have, that is not being sent all there is,
// and that does not lack much.
func TestWhoIsGivenALeadForRoom(t *testing.T) {
	virtually(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			replicas string   // one letter each, the first leads
			short    []string // besides who leads
			sending  bool
			match    uint64
			want     bool
		}{
			"it has all":                        {"abc", nil, false, 5000, true},
			"it has more than was known":        {"abc", nil, false, 6000, true},
			"it lacks some":                     {"abc", nil, false, 5000 - mostLacking, true},
			"it lacks much":                     {"abc", nil, false, 5000 - mostLacking - 1, false},
			"it is sent all that there is":      {"abc", nil, true, 5000, false},
			"it is short of room, as most are":  {"abc", []string{"b"}, false, 5000, false},
			"it is short of room, and most not": {"abcde", []string{"b"}, false, 5000, false},
			"another one is, and most are not":  {"abcde", []string{"c"}, false, 5000, true},
			"the third is, and so most are":     {"abc", []string{"c"}, false, 5000, false},
			"one is that is no replica of it":   {"abc", []string{"d"}, false, 5000, true},
			"all are":                           {"abc", []string{"b", "c"}, false, 5000, false},
			"it was, and has not said so again": {"abc", []string{"-b"}, false, 5000, true},
		} {
			m := &Member{o: Options{Folder: "a"}}
			m.tight.own.Store(true)
			others := map[string]time.Time{}
			for _, folder := range c.short {
				until := time.Now().Add(time.Second)
				if was, is := strings.CutPrefix(folder, "-"); is {
					folder, until = was, time.Now()
				}
				others[folder] = until
			}
			m.tight.others.Store(&others)
			h := &holding{m: m, routes: map[uint64]string{}, sending: map[uint64]bool{2: c.sending}}
			for i, folder := range c.replicas {
				h.routes[uint64(i+1)] = string(folder)
			}
			st := &replica.Status{ID: 1, Last: 5000, Match: map[uint64]uint64{1: 5000, 2: c.match, 3: 0}}
			if got := m.takesMore(h, 2, st); got != c.want {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}
