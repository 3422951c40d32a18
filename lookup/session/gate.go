package session

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

// Gate is who may register: everybody when there are neither networks nor a token file. It is safe for concurrent use.
type Gate struct {
	networks atomic.Pointer[[]netip.Prefix]
	tokens   *grant.Slot
}

// NewGate returns a gate. Brokers from one of the networks may register anything, since nsqd can show no token; others need scope manage
// on each topic by a token of the file, or by a certificate that was verified. Without a file they are refused.
func NewGate(networks []netip.Prefix, tokens *grant.Slot) *Gate {
	g := &Gate{tokens: tokens}
	g.SetNetworks(networks)
	return g
}

// SetNetworks replaces the networks.
func (g *Gate) SetNetworks(list []netip.Prefix) { g.networks.Store(&list) }

// Open reports whether everybody may register.
func (g *Gate) Open() bool { return len(*g.networks.Load()) == 0 && g.tokens.File() == nil }

// from reports whether the peer is in one of the networks. A unix socket is.
func (g *Gate) from(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return peer.Network() == "unix"
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(*g.networks.Load(), func(p netip.Prefix) bool { return p.Contains(ip) })
}

// caller returns who a broker is by its token or certificate, nil when it may register anything. The error is an *lookupwire.Error.
func (g *Gate) caller(conn net.Conn, token string) (*grant.Caller, error) {
	if g.Open() || g.from(conn.RemoteAddr()) {
		return nil, nil
	}
	table := g.tokens.Table()
	if table == nil {
		return nil, unauthorized("IDENTIFY this lookup takes brokers of its networks only; see --allow-node")
	}
	c := table.Anonymous()
	switch byCert, ok := table.ByCertificate(namesOf(conn)); {
	case token != "":
		var err error
		if c, err = table.ByToken(token, time.Now()); err != nil {
			return nil, unauthorized("IDENTIFY " + err.Error())
		}
	case ok:
		c = byCert
	}
	if !c.Grants.Anywhere(grant.Manage) {
		return nil, unauthorized("IDENTIFY " + c.String() + " has not scope manage; brokers without a token are let in by --allow-node")
	}
	return c, nil
}

// namesOf returns the names in the verified certificate of a connection, nil without one.
func namesOf(conn net.Conn) []string {
	secure, ok := conn.(Secure)
	if !ok {
		return nil
	}
	state := secure.ConnectionState()
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return httpapi.NamesOf(state.VerifiedChains[0][0])
}

func unauthorized(text string) *lookupwire.Error {
	return &lookupwire.Error{Code: lookupwire.CodeUnauthorized, Desc: text}
}

// Recheck takes over what networks and token file say now, and ends the connection of a broker that may no longer register. It may be called
// while Serve runs.
func (s *Session) Recheck(now time.Time) {
	if !s.joined.Load() {
		return // IDENTIFY asks
	}
	c, gate := s.caller.Load(), s.cfg.Gate
	if gate.Open() || gate.from(s.conn.RemoteAddr()) {
		return
	}
	var again *grant.Caller
	if c == nil { // it was let in without having to show anything
		again, _ = gate.caller(s.conn, "") // a refusal says why, to nobody
	} else if table := gate.tokens.Table(); table != nil {
		again = table.Again(c, now)
	}
	if again == nil || !again.Grants.Anywhere(grant.Manage) {
		who := "anybody"
		if c != nil {
			who = c.String()
		}
		s.cfg.Log.Warn("broker is cut off: its grants are gone", "remote", s.RemoteAddress(), "caller", who)
		_ = s.Close() // its own goroutine may have closed it already
		return
	}
	s.caller.Store(again)
}

// mayRegister returns the refusal of a topic that the broker has no grant for.
func (s *Session) mayRegister(topic string) *lookupwire.Error {
	if c := s.caller.Load(); c != nil && !c.May(grant.Manage, topic) {
		return unauthorized("REGISTER " + c.String() + " has not scope manage on topic " + topic)
	}
	return nil
}
