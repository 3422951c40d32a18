package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/peer"
	"brokerd/broker/replica"
	"brokerd/diskqueue/journal"
)

var (
	// ErrNotDone is a command that was proposed nowhere, so that nothing has changed: nobody leads, or can be reached, or the
	// node is no member.
	ErrNotDone = errors.New("nothing was changed")
	// ErrUnknown is a command of which nobody has said in time what became of it: it may be carried out all the same.
	ErrUnknown = errors.New("it is not known whether it was done")
)

// elsewhere is a command that this node cannot propose, and has not.
var errElsewhere = errors.New("another node leads")

// request is what a node asks the one that leads.
type request struct {
	Command cluster.Command `json:"command"`
	LeadTo  string          `json:"lead_to,omitempty"` // in place of a command: this folder is to lead

	here bool // it is over once this node has applied it, whatever the one that leads has answered before
}

// reply is the answer.
type reply struct {
	Refused   string `json:"refused,omitempty"`
	NoNode    bool   `json:"no_node,omitempty"`   // it was refused since the map does not have the node
	Elsewhere bool   `json:"elsewhere,omitempty"` // nothing was proposed
	Unknown   string `json:"unknown,omitempty"`
	Failed    string `json:"failed,omitempty"` // nothing was proposed, and it is no use to try it again
}

// err returns what a reply says.
func (r reply) err() error {
	switch {
	case r.Refused != "" && r.NoNode:
		return &remote{cluster.ErrNoNode, r.Refused}
	case r.Refused != "":
		return &remote{cluster.ErrRefused, r.Refused}
	case r.Elsewhere:
		return errElsewhere
	case r.Unknown != "":
		return &remote{ErrUnknown, r.Unknown}
	case r.Failed != "":
		return &remote{ErrNotDone, r.Failed}
	}
	return nil
}

// remote is an error that another node has had.
type remote struct {
	is   error
	text string
}

func (e *remote) Error() string { return e.text }

// Unwrap returns which one it was.
func (e *remote) Unwrap() error { return e.is }

func replyOf(err error) (r reply) {
	switch {
	case err == nil:
	case errors.Is(err, cluster.ErrRefused):
		r.Refused, r.NoNode = err.Error(), errors.Is(err, cluster.ErrNoNode)
	case errors.Is(err, errElsewhere):
		r.Elsewhere = true
	case errors.Is(err, ErrUnknown):
		r.Unknown = err.Error()
	default:
		r.Failed = err.Error()
	}
	return r
}

// Do has a command carried out, here or at the node that leads. It returns nil when it was; a cluster.ErrRefused, as the map is
// then; ErrNotDone when it was not proposed; else ErrUnknown. It takes no longer than Options.Wait.
func (m *Member) Do(ctx context.Context, c cluster.Command) error {
	return m.request(ctx, request{Command: c})
}

// Transfer has another member lead the map: it returns when that was told, not when it leads. Its errors are those of Do.
func (m *Member) Transfer(ctx context.Context, folder string) error {
	return m.request(ctx, request{LeadTo: folder})
}

func (m *Member) request(ctx context.Context, r request) error {
	ctx, cancel := context.WithTimeout(ctx, m.o.Wait)
	defer cancel()
	applied, forget := m.whenApplied(&r.Command)
	defer forget()
	for {
		err := m.try(ctx, r, applied)
		if !errors.Is(err, errElsewhere) {
			return err
		}
		select {
		case <-time.After(tick):
		case <-ctx.Done():
			return fmt.Errorf("%w: no node that leads the map of the cluster can be reached", ErrNotDone)
		case <-m.ctx.Done():
			return fmt.Errorf("%w: the broker is stopping", ErrNotDone)
		}
	}
}

// whenApplied returns where the result of a command comes when this node has applied it, whoever proposed it. It gives the command an id
// when it has none. Call forget when the result is not waited for any more.
func (m *Member) whenApplied(c *cluster.Command) (applied <-chan error, forget func()) {
	if c.ID == 0 {
		c.ID = rand.Uint64()
	}
	result := make(chan error, 1)
	m.mu.Lock()
	m.awaited[c.ID] = result
	m.mu.Unlock()
	return result, func() {
		m.mu.Lock()
		delete(m.awaited, c.ID)
		m.mu.Unlock()
	}
}

// applies tells who waits for a command what became of it. m.mu is held.
func (m *Member) applies(id uint64, result error) {
	if c := m.awaited[id]; c != nil {
		delete(m.awaited, id)
		c <- result
	}
}

// try asks whoever leads, once.
func (m *Member) try(ctx context.Context, r request, applied <-chan error) error {
	m.mu.Lock()
	g, reign := m.group, m.reign
	m.mu.Unlock()
	if g == nil {
		return fmt.Errorf("%w: this node is not in a cluster", ErrNotDone)
	}
	if reign != 0 {
		return m.lead(ctx, r, applied)
	}
	st, err := g.Status(ctx)
	if err != nil {
		return errElsewhere
	}
	m.mu.Lock()
	folder := m.routes[st.Lead]
	m.mu.Unlock()
	if st.Lead == 0 || folder == "" || folder == m.o.Folder {
		return errElsewhere
	}
	return m.forward(ctx, folder, r, applied)
}

// lead does what was asked of this node, which leads.
func (m *Member) lead(ctx context.Context, r request, applied <-chan error) error {
	if r.LeadTo == "" {
		return m.propose(ctx, r.Command, applied)
	}
	m.mu.Lock()
	g, state := m.group, m.state
	m.mu.Unlock()
	to, ok := state.MetaOf(r.LeadTo)
	switch {
	case g == nil:
		return errElsewhere
	case !ok || to.Learner:
		return fmt.Errorf("%w: that node does not vote on the map of the cluster, and cannot lead it", cluster.ErrRefused)
	case r.LeadTo == m.o.Folder:
		return nil
	}
	switch err := g.HandOver(ctx, to.ID); {
	case errors.Is(err, replica.ErrMembers):
		return fmt.Errorf("%w: %v", cluster.ErrRefused, err)
	case err != nil:
		return errElsewhere
	}
	return nil
}

// propose proposes a command in the reign of now, and waits until it is applied here: also when another node leads by then, as what
// was proposed may be carried out all the same.
func (m *Member) propose(ctx context.Context, c cluster.Command, applied <-chan error) error {
	b, err := c.Append(nil)
	if err == nil { // in the log it would stop every replica that does not understand it
		_, err = cluster.ParseCommand(b)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotDone, err)
	}
	m.mu.Lock()
	g, reign := m.group, m.reign
	m.mu.Unlock()
	if g == nil || reign == 0 {
		return errElsewhere
	}
	if _, err := g.Append(reign, journal.KindMap, b); err != nil {
		return errElsewhere // not the leader any more, or about to be none
	}
	return m.outcome(ctx, applied)
}

// outcome waits until a command that was proposed is applied here.
func (m *Member) outcome(ctx context.Context, applied <-chan error) error {
	select {
	case err := <-applied:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: this node has not seen in time that it was carried out", ErrUnknown)
	case <-m.ctx.Done():
		return fmt.Errorf("%w: the broker is stopping", ErrUnknown)
	}
}

// forward has the node that leads do it. What becomes of it is known from that node's answer, or as soon as it is applied here: a node
// that is removed, or does not lead any more, may never answer.
func (m *Member) forward(ctx context.Context, folder string, r request, applied <-chan error) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotDone, err)
	}
	answer := make(chan reply, 1)
	m.mu.Lock()
	m.stream++
	stream := m.stream
	m.pending[stream] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.pending, stream)
		m.mu.Unlock()
	}()
	if err := m.links.Send(folder, peer.Clients, frameCommand, stream, b); err != nil {
		return errElsewhere
	}
	var look <-chan time.Time
	if r.here { // it changes nothing: it is asked for again when another node leads, as this one may be paused
		t := time.NewTicker(tick)
		defer t.Stop()
		look = t.C
	}
	for {
		select {
		case <-look:
			if m.mapLeader() != folder {
				return errElsewhere
			}
		case a := <-answer:
			return m.answered(ctx, a, r, applied)
		case err := <-applied:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%w: the node that leads has not answered in time", ErrUnknown)
		case <-m.ctx.Done():
			return fmt.Errorf("%w: the broker is stopping", ErrUnknown)
		}
	}
}

// answered returns what became of a command that another node has answered.
func (m *Member) answered(ctx context.Context, a reply, r request, applied <-chan error) error {
	err := a.err()
	switch applies := err == nil || errors.Is(err, cluster.ErrRefused); {
	case errors.Is(err, ErrUnknown), applies && r.here:
		return m.outcome(ctx, applied)
	case applies && r.LeadTo == "" && (r.Command.Op != cluster.OpRemove || r.Command.Folder != m.o.Folder):
		_ = m.outcome(ctx, applied) // so that who asks this node next finds what he has changed; it is known to be made also when it does not come here
	}
	return err
}

// mapLeader returns the folder of who leads the map, as far as this node knows.
func (m *Member) mapLeader() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.group == nil {
		return ""
	}
	return m.routes[m.group.Leader()]
}

// replied takes the answer to a command that another node was asked for.
func (m *Member) replied(stream uint32, payload []byte) {
	var r reply
	if err := json.Unmarshal(payload, &r); err != nil {
		return // it ends as unknown
	}
	m.mu.Lock()
	answer := m.pending[stream]
	delete(m.pending, stream)
	m.mu.Unlock()
	if answer != nil {
		answer <- r
	}
}

// serve does what another node asks for, in a goroutine of its own, if there are not too many.
func (m *Member) serve(folder string, stream uint32, payload []byte) {
	say := func(r reply) {
		if b, err := json.Marshal(r); err == nil {
			_ = m.links.Send(folder, peer.Clients, frameReply, stream, b) // without an answer it ends as unknown
		}
	}
	var r request
	if err := json.Unmarshal(payload, &r); err != nil {
		say(reply{Failed: "a command that cannot be read"})
		return
	}
	select {
	case m.asked <- struct{}{}:
	default:
		say(reply{Elsewhere: true}) // too many are under way: it is tried again
		return
	}
	m.serving.Go(func() {
		defer func() { <-m.asked }()
		ctx, cancel := context.WithTimeout(m.ctx, m.o.Wait)
		defer cancel()
		err := errElsewhere
		m.mu.Lock()
		leads := m.reign != 0
		m.mu.Unlock()
		if leads {
			applied, forget := m.whenApplied(&r.Command)
			defer forget()
			err = m.lead(ctx, r, applied)
		}
		say(replyOf(err))
	})
}
