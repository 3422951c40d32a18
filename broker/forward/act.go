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

// Act has who leads a topic do something, and returns its answer. What is done may be done twice, as when an answer is lost. It waits for a leader, and
// for one that has not made the topic yet. It fails with ErrHere when this node leads, topic.ErrNotReplicated, topic.ErrElsewhere when the topic is being
// deleted and gone there, or after Options.Wait: with ErrUnanswered when somebody was asked who may have done it, else with ErrNobodyLeads.
func (f *Forwarder) Act(ctx context.Context, name string, act []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Wait)
	defer cancel()
	last := time.Now().Add(f.o.Wait - leastAsk)
	for unknown := false; ; {
		t, ok, err := f.o.Cluster.Find(name)
		if err == nil && !ok {
			return nil, topic.ErrNotReplicated
		}
		if err == nil && time.Now().Before(last) {
			g := f.group(t.Group)
			g.mu.Lock()
			here, folder := g.led != nil, g.leaderLocked()
			g.mu.Unlock()
			if here && f.o.Topics.Lookup(name) != nil {
				return nil, ErrHere
			}
			var a acted
			var sent, done bool
			if !here {
				a, sent, done = f.ask(ctx, folder, t.Group, act)
			}
			switch {
			case done && !a.again:
				return a.data, nil
			case t.Deleting && (here || done):
				return nil, topic.ErrElsewhere
			case done:
				g.notThere(folder, string(a.data))
			default:
				unknown = unknown || sent
			}
		}
		switch {
		case ctx.Err() == nil:
		case unknown:
			return nil, ErrUnanswered
		default:
			return nil, ErrNobodyLeads
		}
		if err := f.pause(retryEvery); err != nil {
			return nil, err
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

// ask asks one node; done false: it has not answered, and was not asked unless sent is true.
func (f *Forwarder) ask(ctx context.Context, folder string, group uint32, act []byte) (a acted, sent, done bool) {
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
	if f.o.Cluster.Send(folder, frameAct, id, binary.BigEndian.AppendUint32(nil, group), act) != nil {
		return a, false, false
	}
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		select {
		case a := <-result:
			return a, true, true
		case <-tick.C:
			if f.o.Cluster.Link(folder) != link {
				return a, true, false
			}
		case <-ctx.Done():
			return a, true, false
		}
	}
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
