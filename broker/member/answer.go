package member

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode"
	"unicode/utf8"

	"brokerd/broker/cluster"
	"brokerd/broker/peer"
	"brokerd/broker/replica"
)

// judge says whether a peer is let in: over a link, members of the cluster; for a question, whoever knows the secret or has a
// certificate. What is seen of a member's start is kept, synced, before: a copy of its folder is found by that.
func (m *Member) judge(h peer.Hello) error {
	m.mu.Lock()
	n, known := cluster.Node{}, false
	if m.state != nil {
		n, known = m.state.Nodes[h.Folder]
	}
	known = known && !n.Candidate
	unsaved := m.unsaved
	m.mu.Unlock()
	if !known {
		if h.Lane == peer.Ask {
			return nil
		}
		return &peer.Refusal{Reason: "it is no member of the cluster: it asks to be let in first", Removed: true}
	}
	if err := nameFits(h, n.Address); err != nil {
		return err
	}
	life := replica.Life{Lineage: h.Lineage, Starts: h.Starts, Nonce: h.Nonce, Past: h.Past}
	m.mu.Lock()
	lives := m.saved.clone().Lives
	m.mu.Unlock()
	news, err := lives.Meet(h.Folder, life)
	if err == nil && (news || unsaved) {
		met := error(nil) // another process with that folder may have been judged meanwhile
		if err = m.save(func(s *Saved) { _, met = s.Lives.Meet(h.Folder, life) }); err != nil {
			return fmt.Errorf("what is seen of it cannot be written down: %w", err)
		}
		err = met
	}
	var old *replica.OldCopy
	if errors.As(err, &old) {
		return &peer.Refusal{Reason: old.Error(), Old: true, Lineage: old.Seen.Lineage}
	}
	return err
}

// nameFits reports whether a peer's certificate is of the host that it is said to be at. Without TLS there is none.
func nameFits(h peer.Hello, address string) error {
	if h.Certificate == nil || len(h.Certificate.PeerCertificates) == 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err == nil {
		err = h.Certificate.PeerCertificates[0].VerifyHostname(host)
	}
	if err != nil {
		return fmt.Errorf("the map has the node at %s, and its certificate is of another: %w", address, err)
	}
	return nil
}

// errPlain is a text that a terminal may not show as what it is.
var errPlain = errors.New("a name, an address or a zone of a node must be UTF-8 without control characters")

// plain returns errPlain when one of some texts, which people are shown, has more in it than letters that can be seen.
func plain(texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.C, r) }) {
			return fmt.Errorf("%w: %q", errPlain, text)
		}
	}
	return nil
}

// refused takes note of what others refuse this node for.
func (m *Member) refused(r *peer.Refusal) {
	if !r.Old && !r.Removed {
		return
	}
	m.mu.Lock()
	if m.told == nil || r.Old {
		m.told = r
	}
	m.mu.Unlock()
	m.wake()
}

// answer answers a question. The other may be anybody who knows the secret, or has a certificate.
func (m *Member) answer(from peer.Hello, kind peer.Kind, question []byte) []byte {
	var out any
	switch kind {
	case askSaid:
		out = m.says()
	case askJoin:
		var q joining
		if err := json.Unmarshal(question, &q); err != nil || q.Folder != from.Folder {
			out = joined{Error: "a question that cannot be read, or of another folder than the link's"}
			break
		}
		out = m.letIn(from, &q)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil
	}
	return b
}

// letIn answers a node that wants to be let in, or to come back.
func (m *Member) letIn(from peer.Hello, q *joining) joined {
	m.mu.Lock()
	state, point, at := m.state, m.point, m.way
	m.mu.Unlock()
	switch {
	case at != member:
		return joined{Wait: "the node that was asked is no member itself"}
	case q.Wants != state.Name:
		return joined{Error: fmt.Sprintf("this is cluster %q, and %q is asked for", state.Name, q.Wants)}
	case point.Index < q.Index:
		return joined{Wait: "the node that was asked knows less of the map"}
	}
	if err := cmp.Or(nameFits(from, q.Address), plain(q.Name, q.Address, q.Zone)); err != nil {
		return joined{Error: err.Error()}
	}
	n, known := state.Nodes[q.Folder]
	if q.Replica > 0 && (!known || n.Candidate) {
		return joined{Removed: true}
	}
	if !known || n.Name != q.Name || n.Address != q.Address || n.Zone != q.Zone {
		return m.proposeFor(cluster.Command{Op: cluster.OpJoin, Folder: q.Folder, Node: &cluster.Node{Name: q.Name, Address: q.Address, Zone: q.Zone}})
	}
	if n.Candidate {
		return joined{Wait: "it is a candidate: an operator lets it in with brokerctl cluster add, or replace"}
	}
	switch r, ok := state.MetaOf(q.Folder); {
	case !ok:
		return joined{Removed: true}
	case r.ID == q.Replica && !q.Lost:
		return joined{Wait: "it is a member"}
	case r.ID == q.Replica:
		return m.proposeFor(cluster.Command{Op: cluster.OpRejoin, Folder: q.Folder, Replica: q.Replica})
	default:
		return joined{Map: &whole{Point: point, Map: state}}
	}
}

// proposeFor proposes a command for who asks, who asks again.
func (m *Member) proposeFor(c cluster.Command) joined {
	ctx, cancel := context.WithTimeout(m.ctx, m.o.Wait/2)
	defer cancel()
	switch err := m.Do(ctx, c); {
	case errors.Is(err, cluster.ErrRefused):
		return joined{Error: err.Error()}
	case err != nil:
		return joined{Wait: err.Error()}
	}
	return joined{Wait: "it was entered in the map of the cluster"}
}
