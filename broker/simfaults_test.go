package broker

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"brokerd/diskqueue/vfs"
)

// simFault is something that can be done to brokers: it returns what undoes it.
type simFault struct {
	name string
	do   func(s *sim) (undo func())
}

func nothing() {}

// down has brokers killed, or without power, for a while.
func down(power bool, which func(s *sim) []*simBroker) func(s *sim) func() {
	return func(s *sim) func() {
		hit := which(s)
		for _, b := range hit {
			b.kill(power)
		}
		return func() {
			for _, b := range hit {
				b.start()
			}
		}
	}
}

func (s *sim) leading() []*simBroker { return []*simBroker{s.leader()} }
func (s *sim) anyOne() []*simBroker  { return []*simBroker{s.brokers[s.rng.IntN(len(s.brokers))]} }
func (s *sim) all() []*simBroker     { return s.brokers }

func (s *sim) anyTwo() []*simBroker {
	p := s.rng.Perm(len(s.brokers))
	return []*simBroker{s.brokers[p[0]], s.brokers[p[1]]}
}

// cuts has what some brokers send to others lost.
func cuts(ways func(s *sim) [][2]*simBroker) func(s *sim) func() {
	return func(s *sim) func() {
		list := ways(s)
		for _, w := range list {
			s.n.Cut(true, w[0].host, w[1].host)
		}
		return func() {
			for _, w := range list {
				s.n.Cut(false, w[0].host, w[1].host)
			}
		}
	}
}

// others returns the two others.
func (s *sim) others(b *simBroker) (list []*simBroker) {
	for _, o := range s.brokers {
		if o != b {
			list = append(list, o)
		}
	}
	return list
}

// failing has operations of the leader's disk fail.
func failing(rule vfs.Rule) func(s *sim) func() { return failingAt((*sim).leading, rule) }

// failingAt has operations of a broker's disk fail.
func failingAt(which func(s *sim) []*simBroker, rule vfs.Rule) func(s *sim) func() {
	return func(s *sim) func() {
		fault := which(s)[0].fault
		fault.SetRules(rule)
		return func() { fault.SetRules() }
	}
}

// late has logs of brokers take long for each sync. Others of their files do not: locks are held over what is done with those, and time would stand still.
func late(by time.Duration, which func(s *sim) []*simBroker) func(s *sim) func() {
	return func(s *sim) func() {
		hit := which(s)
		for _, b := range hit {
			b.late.Store(int64(by))
		}
		return func() {
			for _, b := range hit {
				b.late.Store(0)
			}
		}
	}
}

var errSimDisk = errors.New("the disk of the simulation fails")

// simDiskFaults is how many of simFaults, the last ones, are of disks.
const simDiskFaults = 7

var simFaults = []simFault{
	{"kill -9 of the leader", down(false, (*sim).leading)},
	{"kill -9 of one", down(false, (*sim).anyOne)},
	{"kill -9 of two", down(false, (*sim).anyTwo)},
	{"kill -9 of all", down(false, (*sim).all)},
	{"power cut of the leader", down(true, (*sim).leading)},
	{"power cut of two", down(true, (*sim).anyTwo)},
	{"power cut of all", down(true, (*sim).all)},
	{"clean stop of the leader", func(s *sim) func() {
		b := s.leader()
		if err := b.stop(); err != nil && !errors.Is(err, errSimDisk) && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) { // its disk may fail just now
			s.t.Errorf("stopping %s: %v", b.host, err)
		}
		return b.start
	}},
	{"cut of the leader, both ways", cuts(func(s *sim) (list [][2]*simBroker) {
		l := s.leader()
		for _, o := range s.others(l) {
			list = append(list, [2]*simBroker{l, o}, [2]*simBroker{o, l})
		}
		return list
	})},
	{"cut of what the leader sends", cuts(func(s *sim) (list [][2]*simBroker) {
		l := s.leader()
		for _, o := range s.others(l) {
			list = append(list, [2]*simBroker{l, o})
		}
		return list
	})},
	{"cut of what is sent to the leader", cuts(func(s *sim) (list [][2]*simBroker) {
		l := s.leader()
		for _, o := range s.others(l) {
			list = append(list, [2]*simBroker{o, l})
		}
		return list
	})},
	{"cut between the leader and one other", cuts(func(s *sim) [][2]*simBroker {
		l := s.leader()
		o := s.others(l)[s.rng.IntN(len(s.brokers)-1)]
		return [][2]*simBroker{{l, o}, {o, l}}
	})},
	{"cut between all", cuts(func(s *sim) (list [][2]*simBroker) {
		for _, a := range s.brokers {
			for _, b := range s.others(a) {
				list = append(list, [2]*simBroker{a, b})
			}
		}
		return list
	})},
	{"connections of brokers reset", func(s *sim) func() {
		s.n.Reset(func(a, b string) bool { return a != simOutside && b != simOutside })
		return nothing
	}},
	{"a network of 100 ms", func(s *sim) func() {
		was := s.n.SetDelay([2]time.Duration{50 * time.Millisecond, 150 * time.Millisecond})
		return func() { s.n.SetDelay(was) }
	}},
	{"the leads given away", func(s *sim) func() {
		if server := s.leader().awake(); server != nil {
			server.member.Resign()
		}
		return nothing
	}},
	{"drain of the leader", func(s *sim) func() {
		server := s.leader().awake()
		if server == nil || server.StartDrain(Drain{Stay: true}) != nil {
			return nothing
		}
		return func() { _ = server.EndDrain() } // it may have been killed
	}},
	{"topics of other groups are made", func(s *sim) func() {
		if server := s.anyOne()[0].awake(); server != nil { // groups begin under the clock of all brokers
			for i := range 1 + s.rng.IntN(3) {
				_ = server.member.CreateTopic(s.t.Context(), fmt.Sprint("more-", i, "-", s.rng.Uint32()), false) // nobody may lead
			}
		}
		return nothing
	}},
	{"a pause of the leader", pause((*sim).leading)},
	{"a pause of one", pause((*sim).anyOne)},
	{"a pause of two", pause((*sim).anyTwo)},
	{"a pause of all", pause((*sim).all)},
	{"pauses of one, again and again", stutter},
	{"a pause of the leader once it has acknowledged something", pauseWhen((*sim).leading, acknowledges)},
	{"a pause of the leader between two things that it says", pauseWhen((*sim).leading, says)},
	{"a pause of one between two things that it says", pauseWhen((*sim).anyOne, says)},
	{"a pause of the leader before something is in its log", pauseAtDisk((*sim).leading)},
	{"a pause of one before something is in its log", pauseAtDisk((*sim).anyOne)},
	{"a pause of the leader while it gives its leads away", pauseOfWhoResigns},
	{"a pause of one while the leader gives its leads away", pauseOfWhoTakes},
	{"a kill of the leader, and a pause of who leads next", pauseOfNext},
	{"a kill of one, and a pause while it starts", pauseOfStart},
	{"an outage of one, and a pause while it is sent what it lacks", pauseOfTransfer},
	{"cut of the leader's control connections", cutsLane(0, 3)},
	{"cut of what the leader says over control connections", cutsLane(0, 1)},
	{"cut of what is said to the leader over control connections", cutsLane(0, 2)},
	{"cut of the leader's connections of entries", cutsLane(1, 3)},
	{"cut of the leader's connections of clients", cutsLane(2, 3)},
	{"the leader's log answers late", late(300*time.Millisecond, (*sim).leading)},
	{"the logs of two answer late", late(100*time.Millisecond, (*sim).anyTwo)},
	{"syncs of the leader's disk fail", failing(vfs.Rule{Ops: vfs.OpSync, Err: errSimDisk})},
	{"one sync of the leader's disk fails", failing(vfs.Rule{Ops: vfs.OpSync, Err: errSimDisk, Times: 1})},
	{"the leader's disk is full", failing(vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate | vfs.OpPreallocate, Err: syscall.ENOSPC})},
	{"the disk of one is full", failingAt((*sim).anyOne, vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate | vfs.OpPreallocate, Err: syscall.ENOSPC})},
	{"syncs of one fail", failingAt((*sim).anyOne, vfs.Rule{Ops: vfs.OpSync, Err: errSimDisk})},
	{"segments of one cannot be written", failingAt((*sim).anyOne, vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate | vfs.OpSync, Path: "*.seg", Err: syscall.EIO})},
	{"segments of the leader cannot be read", failing(vfs.Rule{Ops: vfs.OpRead | vfs.OpOpen, Path: "*.seg", Err: syscall.EIO})},
}
