package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"brokerd/broker/registrar"
	"brokerd/protocol/httpapi"
)

// How often it is looked how far a drain is: drainTicks, and no more than a tenth of the time, as many topics take long to look at.
const (
	drainTicks = 20 * time.Millisecond
	drainShare = 10
)

// Drain says how a node is emptied.
type Drain struct {
	Empty bool // first deliver all that waits, listed by the lookups till then
	Stay  bool // go on running afterwards, not ready, until a signal or EndDrain
}

// errDrained is the refusal to take a drain back whose end has begun.
var errDrained = errors.New("the broker has drained and is stopping")

// drainer empties the node.
type drainer struct {
	s *Server

	change    sync.Mutex // one at a time is begun or taken back; before mu
	mu        sync.Mutex // guards what follows
	state     httpapi.Drain
	cancel    context.CancelFunc // nil when nothing is drained
	withdrawn bool               // the node has left the lookups
	over      bool               // nothing more may begin: the process ends
	done      sync.WaitGroup
}

// The states of a drain.
const (
	stateDraining = "draining"
	stateDrained  = "drained"
)

// StartDrain begins to empty the node; one that is in progress goes on as d says. Publishes are refused from now on. Without d.Empty
// nothing more is delivered and the node leaves the lookups at once. Replicated topics are led by others. It ends when nothing is out, and with d.Empty
// nothing waits, or when --drain-timeout is over: then Failed yields nil, unless d.Stay.
func (s *Server) StartDrain(d Drain) error {
	r := &s.drain
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return errDrained
	}
	r.haltLocked()
	now := time.Now()
	r.state = httpapi.Drain{State: stateDraining, Since: now.Unix(), Empty: d.Empty, Stay: d.Stay}
	ctx := context.Background()
	if limit := s.now().DrainTimeout; limit > 0 {
		r.state.Deadline = now.Add(limit).Unix()
		ctx, r.cancel = context.WithTimeout(ctx, limit)
	} else {
		ctx, r.cancel = context.WithCancel(ctx)
	}
	s.log.Info("draining", "empty", d.Empty, "stay", d.Stay, "timeout", s.now().DrainTimeout)
	s.registry.SetDraining(true, !d.Empty)
	s.standAside(true)
	if d.Empty {
		r.relistLocked()
		s.setDelivery(true)
	} else {
		s.withdrawLocked()
	}
	r.done.Go(func() { r.run(ctx, d) })
	return nil
}

// standAside has others lead the replicated topics of a broker that drains, as they are delivered by who leads.
func (s *Server) standAside(on bool) {
	if s.member != nil {
		s.member.StandAside(on)
	}
}

// setDelivery has consumers get messages, also those of topics that others lead, or no more.
func (s *Server) setDelivery(on bool) {
	s.registry.SetDelivery(on)
	if s.relay != nil {
		s.relay.SetDelivery(on)
	}
}

// held returns how many messages the broker has, and how many of these, and of those that others lead, its consumers have.
func (s *Server) held() (all int64, out int) {
	all, out = s.registry.Held()
	if s.relay != nil {
		out += s.relay.InFlight()
	}
	return all, out
}

// EndDrain takes a drain back: the node is as before.
func (s *Server) EndDrain() error {
	r := &s.drain
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return errDrained
	}
	if r.state.State == "" {
		return nil
	}
	r.haltLocked()
	r.state, r.withdrawn = httpapi.Drain{}, false
	s.registry.SetDraining(false, false)
	s.setDelivery(true)
	s.standAside(false)
	s.log.Info("no longer draining")
	r.relistLocked()
	return nil
}

// relist changes the lookups. A node that has left them for a drain comes back to none.
func (s *Server) relist(addresses []string) error {
	s.drain.mu.Lock()
	defer s.drain.mu.Unlock()
	if s.drain.withdrawn {
		return registrar.CheckAddresses(addresses)
	}
	return s.registrar.SetAddresses(addresses)
}

// withdrawLocked stops the delivery and leaves the lookups. The drain is locked.
func (s *Server) withdrawLocked() {
	s.drain.withdrawn = true
	s.registry.SetDraining(true, true)
	s.setDelivery(false)
	if err := s.registrar.SetAddresses(nil); err != nil { // there is nothing that could be wrong with none
		s.log.Error("leaving the lookups", "error", err)
	}
}

// relistLocked comes back to the lookups.
func (r *drainer) relistLocked() {
	r.withdrawn = false
	if err := r.s.registrar.SetAddresses(r.s.now().LookupdTCPAddresses); err != nil { // they are in force, so they were checked
		r.s.log.Error("coming back to the lookups", "error", err)
	}
}

// withdraw is withdrawLocked of a drain that was not taken back meanwhile.
func (r *drainer) withdraw() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel == nil {
		return false
	}
	r.s.withdrawLocked()
	return true
}

// haltLocked ends the goroutine of a drain in progress. It unlocks mu meanwhile; change is held.
func (r *drainer) haltLocked() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	r.mu.Unlock() // it may be about to note how far it is
	r.done.Wait()
	r.mu.Lock()
}

// end is haltLocked for good.
func (r *drainer) end() {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	r.haltLocked()
}

// run waits until the drain is over.
func (r *drainer) run(ctx context.Context, d Drain) {
	text := ""
	if d.Empty && !r.await(ctx, func(all int64, _ int) bool { return all == 0 }) {
		text = "the deadline has passed and messages still wait; they are kept"
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	if d.Empty && !r.withdraw() {
		return
	}
	if !r.await(ctx, func(_ int64, out int) bool { return out == 0 }) && text == "" {
		text = "the deadline has passed and consumers have not answered; what they have is delivered again elsewhere in time"
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	r.finish(d, text)
}

// await returns whether the condition came to hold before ctx ended.
func (r *drainer) await(ctx context.Context, holds func(all int64, out int) bool) bool {
	pause := time.NewTimer(drainTicks)
	defer pause.Stop()
	for {
		began := time.Now()
		if holds(r.s.held()) {
			return true
		}
		pause.Reset(max(drainTicks, (drainShare-1)*time.Since(began)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			return holds(r.s.held())
		}
	}
}

// finish notes the end of a drain, and has the process end unless it is to stay.
func (r *drainer) finish(d Drain, text string) {
	all, out := r.s.held()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel == nil { // it was taken back meanwhile
		return
	}
	r.state.State, r.state.Text = stateDrained, text
	took := time.Since(time.Unix(r.state.Since, 0)).Round(time.Second)
	if text != "" {
		r.s.log.Warn("drained, but not all", "left", all, "in_flight", out, "why", text, "took", took)
	} else {
		r.s.log.Info("drained", "left", all, "took", took)
	}
	if !d.Stay {
		r.over = true
		r.s.failed <- nil
	}
}

// drainState returns how far a drain is, and whether there is one.
func (s *Server) drainState() (httpapi.Drain, bool) {
	s.drain.mu.Lock()
	state := s.drain.state
	s.drain.mu.Unlock()
	if state.State == "" {
		return state, false
	}
	all, out := s.held()
	state.InFlight, state.Left = out, all
	return state, true
}

// ready returns why the node should get no work, nil when it may.
func (s *Server) ready() error {
	s.drain.mu.Lock()
	state := s.drain.state.State
	s.drain.mu.Unlock()
	if state != "" {
		return fmt.Errorf("the broker %s", map[string]string{stateDraining: "is draining", stateDrained: "has drained"}[state])
	}
	if err := s.registry.Health(); err != nil || s.member == nil {
		return err
	}
	return s.member.Ready()
}
