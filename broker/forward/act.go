package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"brokerd/broker/topic"
)

// acts are what this node has asked others to do.
type acts struct {
	places chan struct{} // for what others ask

	mu      sync.Mutex // guards what follows
	last    uint32
	waiting map[uint32]chan acted
}

// acted is what became of one.
type acted struct {
	again bool // not done: that node does not lead, or has not made the topic yet
	data  []byte
}

const (
	// mostActs is how many acts of other nodes are carried out at the same time.
	mostActs = 64
	// mostAct is how many bytes an act or its answer has.
	mostAct = 8 << 20
	// leastAsk is how much time who is asked has to answer, of a time that is longer: with less it would not be known what he did.
	leastAsk = 50 * time.Millisecond
)

// ErrHere is an act about a topic that this node leads now.
var ErrHere = errors.New("this node leads the topic")

// Serve says who carries out acts that other nodes send; there is false, and nothing done, when this node does not have what the act is about.
func (f *Forwarder) Serve(do func(act []byte) (answer []byte, there bool)) { f.serves.Store(&do) }

// Act has who leads a topic do something, and returns its answer. What is done may be done twice, as when an answer is lost: unsure says that somebody
// was asked before who may have done it. It waits for a leader, and for one that has not made the topic yet. It fails with ErrHere when this node leads, topic.ErrNotReplicated, topic.ErrElsewhere when the topic is being
// deleted and gone there, or after Options.Wait: with ErrUnanswered when somebody was asked who may have done it, else with ErrNobodyLeads.
func (f *Forwarder) Act(ctx context.Context, name string, act []byte) (answer []byte, unsure bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Wait)
	defer cancel()
	last := time.Now().Add(f.o.Wait - leastAsk)
	for barred := false; ; {
		t, ok, err := f.o.Cluster.Find(name)
		if err == nil && !ok {
			return nil, unsure, topic.ErrNotReplicated
		}
		if err == nil && time.Now().Before(last) {
			g := f.group(t.Group)
			g.mu.Lock()
			here, folder := g.led != nil, g.leaderLocked()
			g.mu.Unlock()
			local := f.o.Topics.Lookup(name)
			if here && local != nil && local.Replicated() {
				return nil, unsure, ErrHere
			}
			barred = here && local != nil
			var a acted
			var sent, done bool
			if !here {
				a, sent, done = f.ask(ctx, folder, g, act)
			}
			switch {
			case done && !a.again:
				return a.data, unsure, nil
			case t.Deleting && (here || done):
				return nil, unsure, topic.ErrElsewhere
			case done:
				g.notThere(folder, string(a.data))
			default:
				unsure = unsure || sent
			}
		}
		switch {
		case ctx.Err() == nil:
		case unsure:
			return nil, unsure, ErrUnanswered
		case barred:
			return nil, unsure, ErrBarred
		default:
			return nil, unsure, ErrNobodyLeads
		}
		if err := f.pause(retryEvery); err != nil {
			return nil, unsure, err
		}
	}
}

// notThere notes that a node does not lead, and who does as it says.
func (g *group) notThere(folder, hint string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turns++
	if g.hint = hint; hint == folder {
		g.hint = ""
	}
}

// ask asks one node; done false: it has not answered, and was not asked unless sent is true. It is not waited for once another one is known to lead: it
// may be paused, or its machine dead, which its link shows much later. Without an act it is asked who leads.
func (f *Forwarder) ask(ctx context.Context, folder string, g *group, act []byte) (a acted, sent, done bool) {
	link := f.o.Cluster.Link(folder)
	if folder == "" || link == 0 {
		return a, false, false
	}
	result := make(chan acted, 1)
	f.acts.mu.Lock()
	f.acts.last++
	id := f.acts.last
	f.acts.waiting[id] = result
	f.acts.mu.Unlock()
	defer func() {
		f.acts.mu.Lock()
		delete(f.acts.waiting, id)
		f.acts.mu.Unlock()
	}()
	if f.o.Cluster.Send(folder, frameAct, id, binary.BigEndian.AppendUint32(nil, g.number), act) != nil {
		return a, false, false
	}
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case a := <-result:
			return a, true, true
		case <-tick.C:
			if f.o.Cluster.Link(folder) != link || len(act) > 0 && g.elsewhere(folder, began) {
				return a, true, false
			}
		case <-ctx.Done():
			return a, true, false
		}
	}
}

// elsewhere reports whether another node than one that was asked at a moment is known to lead, and sees to it that this becomes known.
func (g *group) elsewhere(folder string, since time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	lead := g.f.o.Cluster.Leader(g.number)
	if lead == "" && g.hint != "" && g.f.o.Cluster.Link(g.hint) != 0 {
		lead = g.hint
	}
	g.inquireLocked(folder, since, time.Now())
	return lead != "" && lead != folder
}

// inquireLocked asks the others that have a replica of the group who leads it, when one that was asked something at a moment has said nothing for a
// while: a node without one does not hear of it otherwise.
func (g *group) inquireLocked(silent string, since, now time.Time) {
	patience := g.f.o.Wait / suspects
	if g.f.o.Cluster.Leader(g.number) != "" || now.Sub(since) < patience || now.Sub(g.inquired) < patience {
		return
	}
	g.inquired = now
	g.f.spawn(func() { g.inquire(silent, patience) })
}

// suspects is which part of Options.Wait is a while.
const suspects = 20

// inquire asks them, and notes who leads as they say, if that is not the one that is silent.
func (g *group) inquire(silent string, within time.Duration) {
	ctx, cancel := context.WithTimeout(g.f.ctx, within)
	defer cancel()
	var asked sync.WaitGroup
	for _, folder := range g.f.o.Cluster.Replicas(g.number) {
		if folder == silent || folder == g.f.o.Cluster.Self() {
			continue
		}
		asked.Go(func() {
			a, _, done := g.f.ask(ctx, folder, g, nil)
			lead := folder
			if a.again {
				lead = string(a.data)
			}
			if !done || lead == "" || lead == silent {
				return
			}
			g.mu.Lock()
			g.hint = lead
			g.mu.Unlock()
			g.wake()
		})
	}
	asked.Wait()
}

// answered takes the answer to an act.
func (a *acts) answered(id uint32, payload []byte) {
	if len(payload) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if result := a.waiting[id]; result != nil {
		delete(a.waiting, id)
		result <- acted{again: payload[0] != 0, data: payload[1:]}
	}
}

// asked carries out what another node asks for, if this one leads.
func (f *Forwarder) asked(folder string, id uint32, payload []byte) {
	do := f.serves.Load()
	if len(payload) < 4 || len(payload) > mostAct {
		return
	}
	say := func(again byte, data []byte) {
		_ = f.o.Cluster.Send(folder, frameActed, id, []byte{again}, data) // without an answer it is asked again
	}
	group := binary.BigEndian.Uint32(payload)
	if do == nil || f.leading(group) == nil {
		say(1, []byte(f.o.Cluster.Leader(group)))
		return
	}
	if len(payload) == 4 { // who leads is all that is asked
		say(0, nil)
		return
	}
	select {
	case f.acts.places <- struct{}{}:
	default:
		say(1, nil) // too many are under way
		return
	}
	if !f.spawn(func() {
		defer func() { <-f.acts.places }()
		if answer, there := (*do)(payload[4:]); there {
			say(0, answer)
		} else {
			say(1, nil)
		}
	}) {
		<-f.acts.places
	}
}
