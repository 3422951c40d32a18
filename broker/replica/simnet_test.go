package replica

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// send gives a message to the network.
func (s *sim) send(from *node, msg *raftpb.Message) {
	s.truth.sent(s, from, msg)
	to := s.nodeOf(msg.GetTo())
	if to == nil || to == from || !s.connected(from, to) {
		return
	}
	link := [2]int{from.i, to.i}
	b := encode(msg)
	times := 1
	if s.rng.Float64() < s.loss || s.cut[link] {
		times = 0
	} else if s.rng.Float64() < s.twice {
		times = 2
	}
	life, unbroken := to.life, s.broken[link]
	for range times {
		at := s.now + pick(s.rng, s.delay[0], s.delay[1])
		if s.fifo {
			at = max(at, s.last[link])
			s.last[link] = at
		}
		s.after(at-s.now, func() {
			if to.up && to.life == life && s.broken[link] == unbroken && !s.cut[link] { // else the connection that it went over is gone
				to.own(byMessage, func() { to.take(b) })()
			}
		})
	}
}

// take hands a message to the machine.
func (n *node) take(b []byte) {
	if n.m == nil {
		return
	}
	msg, err := decode(b)
	must(err)
	n.pass()
	n.m.step(msg, n.clock())
	n.settle()
}

// connected reports whether two processes have a connection, and makes one if that can be: each judges what the other
// says of its life, and keeps it, before anything else goes over it.
func (s *sim) connected(a, b *node) bool {
	key := [4]int{min(a.i, b.i), max(a.i, b.i), a.life, b.life}
	if a.i > b.i {
		key[2], key[3] = b.life, a.life
	}
	if s.links[key] {
		return true
	}
	if !a.up || !b.up || a.paused > s.now || b.paused > s.now || s.cut[[2]int{a.i, b.i}] || s.cut[[2]int{b.i, a.i}] {
		return false
	}
	okA, okB := a.greet(b), b.greet(a)
	if s.links[key] = okA && okB && a.up && b.up; !s.links[key] {
		delete(s.links, key)
		return false
	}
	return true
}

// greet judges what another node says of its life.
func (n *node) greet(other *node) bool {
	if !n.up || !other.up {
		return false
	}
	news, err := n.paper.Lives.Meet(other.paper.Folder, other.paper.Life)
	var old *OldCopy
	if errors.As(err, &old) {
		n.s.stats.oldCopies++
		other.copied = false
		other.paper.Life = other.paper.Life.Told(old)
		other.rest(fmt.Errorf("%w: %w", ErrForgetful, err))
		return false
	}
	if news && n.save(n.faulty) != nil {
		n.crash(false)
		return false
	}
	return true
}
