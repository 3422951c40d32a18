package broker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/simnet"
	"brokerd/diskqueue/vfs"
)

// A pause is that of a process that was stopped, or of a machine that stood: for a while nothing leaves a broker, nothing comes to it, nothing is
// written to its log or synced, and its groups have no ticks. Then all that was sent to it is there at once, all that it has said leaves, and its
// clock is that much further.

// pause has it stand, until goOn.
func (b *simBroker) pause() { b.s.n.Pause(b.host, true) }

// goOn ends a pause, and lets nothing more begin one.
func (b *simBroker) goOn() {
	b.sent.Store(nil)
	b.wrote.Store(nil)
	b.s.n.Pause(b.host, false)
}

// awake is now, but nil for one that stands, which does nothing that it is told to.
func (b *simBroker) awake() *Server {
	if b.s.n.Stands(b.host) {
		return nil
	}
	return b.now()
}

// touches is told what is done to the disk. Of a broker that stands only the log is held up: locks are held over what is done with other files, and time
// would stand still.
func (b *simBroker) touches(op vfs.Op, name string) {
	b.reaches(op, name)
	if !strings.HasSuffix(name, ".wal") || op&(vfs.OpWrite|vfs.OpSync) == 0 {
		return
	}
	if wrote := b.wrote.Load(); wrote != nil {
		(*wrote)(op, name)
	}
	if by := b.late.Load(); by > 0 && op == vfs.OpSync {
		time.Sleep(time.Duration(by))
	}
	b.s.n.Stand(b.host)
}

// observe is told what anybody has sent.
func (s *sim) observe(sent simnet.Sent) {
	for _, b := range s.brokers {
		if told := b.sent.Load(); told != nil && sent.From == b.host {
			(*told)(sent)
		}
	}
}

// pause has brokers stand for a while.
func pause(which func(s *sim) []*simBroker) func(s *sim) func() {
	return func(s *sim) func() {
		hit := which(s)
		for _, b := range hit {
			b.pause()
		}
		return s.goOn(hit)
	}
}

// goOn has brokers go on, not in the same moment.
func (s *sim) goOn(hit []*simBroker) func() {
	return func() {
		for _, b := range hit {
			b.goOn()
			if len(hit) > 1 && s.rng.IntN(2) == 0 {
				time.Sleep(time.Duration(s.rng.IntN(1000)) * time.Millisecond)
			}
		}
	}
}

// stutter has one stand again and again.
func stutter(s *sim) func() {
	b, quit := s.anyOne()[0], make(chan struct{})
	rng := rand.New(rand.NewPCG(s.rng.Uint64(), 4))
	var work sync.WaitGroup
	work.Go(func() {
		for {
			b.pause()
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
			b.s.n.Pause(b.host, false)
			select {
			case <-quit:
				return
			case <-time.After(time.Duration(rng.IntN(500)) * time.Millisecond):
			}
		}
	})
	return func() {
		close(quit)
		work.Wait()
		b.goOn()
	}
}

// pauseWhen has brokers stand once they have said something for the n-th time.
func pauseWhen(which func(s *sim) []*simBroker, what func(simnet.Sent) bool) func(s *sim) func() {
	return func(s *sim) func() {
		hit := which(s)
		for _, b := range hit {
			b.pauseAfter(1+s.rng.IntN(20), what)
		}
		return s.goOn(hit)
	}
}

func (b *simBroker) pauseAfter(n int, what func(simnet.Sent) bool) {
	var left atomic.Int64
	left.Store(int64(n))
	told := func(sent simnet.Sent) {
		if what(sent) && left.Add(-1) == 0 {
			b.pause()
		}
	}
	b.sent.Store(&told)
}

// acknowledges is what a client is told of a publish.
func acknowledges(sent simnet.Sent) bool {
	return sent.To == simOutside && bytes.Equal(sent.Data, []byte("\x00\x00\x00\x06\x00\x00\x00\x00OK"))
}

// says is what another broker is told.
func says(sent simnet.Sent) bool { return sent.To != simOutside }

// over reports whether it is said over a lane, see peer.Lane.
func over(lane int) func(opening []byte) bool {
	return func(opening []byte) bool { return bytes.Contains(opening, fmt.Appendf(nil, `"lane":%d`, lane)) }
}

// pauseAtDisk has brokers stand before they write, or sync, their logs for the n-th time.
func pauseAtDisk(which func(s *sim) []*simBroker) func(s *sim) func() {
	return func(s *sim) func() {
		hit := which(s)
		for _, b := range hit {
			b.pauseBefore(1 + s.rng.IntN(20))
		}
		return s.goOn(hit)
	}
}

func (b *simBroker) pauseBefore(n int) {
	var left atomic.Int64
	left.Store(int64(n))
	wrote := func(vfs.Op, string) {
		if left.Add(-1) == 0 {
			b.pause()
		}
	}
	b.wrote.Store(&wrote)
}

// pauseOfWhoResigns has the leader stand while it hands its leads over.
func pauseOfWhoResigns(s *sim) func() {
	b := s.leader()
	return s.resigns(b, func() { b.pauseAfter(1+s.rng.IntN(8), says) }, b)
}

// pauseOfWhoTakes has another one stand meanwhile.
func pauseOfWhoTakes(s *sim) func() {
	b := s.leader()
	o := s.others(b)[s.rng.IntN(len(s.brokers)-1)]
	return s.resigns(b, func() { o.pauseAfter(1+s.rng.IntN(8), says) }, o)
}

// resigns has the leader give its leads away, with what is prepared before that.
func (s *sim) resigns(b *simBroker, prepare func(), hit *simBroker) func() {
	server := b.awake()
	if server == nil {
		return nothing
	}
	prepare()
	var work sync.WaitGroup
	work.Go(func() { server.member.Resign() })
	return func() {
		hit.goOn()
		work.Wait()
	}
}

// pauseOfNext kills the leader, and has who leads next stand as soon as it says so, or a little later.
func pauseOfNext(s *sim) func() {
	b := s.leader()
	b.kill(s.rng.IntN(2) == 0)
	hit := b
	for range 300 {
		if hit = s.leader(); hit != b && hit.now() != nil && hit.leads() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s.rng.IntN(2) == 0 {
		hit.pause()
	} else {
		hit.pauseAfter(1+s.rng.IntN(20), says)
	}
	return func() {
		hit.goOn()
		b.start()
	}
}

// leads reports whether a broker says that it leads a group with topics.
func (b *simBroker) leads() bool {
	v := b.now().member.View(b.s.t.Context())
	for _, g := range v.Groups {
		for _, n := range v.Nodes {
			if n.Self && n.Folder == g.Leader && len(g.Topics) > 0 {
				return true
			}
		}
	}
	return false
}

// pauseOfStart has one that was killed stand while it starts: before something is in its log, or said.
func pauseOfStart(s *sim) func() {
	b := s.anyOne()[0]
	b.kill(s.rng.IntN(2) == 0)
	time.Sleep(time.Duration(s.rng.IntN(2000)) * time.Millisecond)
	if s.rng.IntN(2) == 0 {
		b.pauseBefore(1 + s.rng.IntN(12))
	} else {
		b.pauseAfter(1+s.rng.IntN(40), says)
	}
	var work sync.WaitGroup
	work.Go(b.start)
	return func() {
		b.goOn()
		work.Wait()
		b.start() // another one may have been in its way
	}
}

// pauseOfTransfer has one be away for so long that it is sent all that there is, where logs are short, and has who sends it, or it, stand meanwhile.
func pauseOfTransfer(s *sim) func() {
	b := s.anyOne()[0]
	b.kill(s.rng.IntN(2) == 0)
	time.Sleep(time.Duration(3000+s.rng.IntN(6000)) * time.Millisecond)
	bulk, n := over(3), 2+s.rng.IntN(12)
	inBulk := func(sent simnet.Sent) bool { return bulk(sent.Opening) && (sent.To == b.host || sent.From == b.host) }
	hit := []*simBroker{b}
	if s.rng.IntN(2) == 0 {
		hit = s.others(b)
	}
	for _, o := range hit {
		o.pauseAfter(n, inBulk)
	}
	b.start()
	return s.goOn(append(hit, b))
}

// cutsLane has what the leader sends over connections of a lane lost (1), what it is sent (2), or both.
func cutsLane(lane, ways int) func(s *sim) func() {
	return func(s *sim) func() {
		l := s.leader()
		set := func(which func([]byte) bool) {
			for _, o := range s.others(l) {
				if ways&1 != 0 {
					s.n.CutSome(which, l.host, o.host)
				}
				if ways&2 != 0 {
					s.n.CutSome(which, o.host, l.host)
				}
			}
		}
		set(over(lane))
		return func() { set(nil) }
	}
}

// simReach is what a run has come to, so that it can be seen that it tests something.
var simReach = [...]string{"files of segments", "checkpoints", "times that something was written anew", "sent whole"}

// reaches counts what is seen of the disk.
func (b *simBroker) reaches(op vfs.Op, name string) {
	if op == vfs.OpCreate && strings.HasSuffix(name, ".seg") {
		b.reach[0].Add(1)
	}
}

// tally counts what a server has done that is about to end.
func (b *simBroker) tally(server *Server) {
	f := server.engine.Figures()
	b.reach[1].Add(int64(f.Checkpoints))
	b.reach[2].Add(int64(f.Compactions))
}

// reached says what all have come to.
func (s *sim) reached() (text string) {
	var sums [len(simReach)]int64
	for _, b := range s.brokers {
		for i := range b.reach {
			sums[i] += b.reach[i].Load()
		}
		sums[3] += b.log.whole.Load()
	}
	for i, what := range simReach {
		text += fmt.Sprintf("%s: %d; ", what, sums[i])
	}
	return strings.TrimSuffix(text, "; ")
}
