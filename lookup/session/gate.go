package session

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"brokerd/protocol/grant"
	"brokerd/protocol/lookupwire"
)

// Gate is who may register. Its zero value lets everybody in.
type Gate struct {
	Networks []netip.Prefix // brokers from here may register anything; nsqd can show no token
	Tokens   *grant.File    // others need a token with scope manage on each topic; nil: others are refused, unless there are no networks
}

func (g *Gate) open() bool { return len(g.Networks) == 0 && g.Tokens == nil }

// from reports whether the peer is in one of the networks. A unix socket is.
func (g *Gate) from(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return peer.Network() == "unix"
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(g.Networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// caller returns who a broker is by its token, nil when it may register anything. The error is an *lookupwire.Error.
func (g *Gate) caller(peer net.Addr, token string) (*grant.Caller, error) {
	if g.open() || g.from(peer) {
		return nil, nil
	}
	if g.Tokens == nil {
		return nil, unauthorized("IDENTIFY this lookup takes brokers of its networks only; see --allow-node")
	}
	table := g.Tokens.Table()
	c := table.Anonymous()
	if token != "" {
		var err error
		if c, err = table.ByToken(token, time.Now()); err != nil {
			return nil, unauthorized("IDENTIFY " + err.Error())
		}
	}
	if !c.Grants.Anywhere(grant.Manage) {
		return nil, unauthorized("IDENTIFY " + c.String() + " has not scope manage; brokers without a token are let in by --allow-node")
	}
	return c, nil
}

func unauthorized(text string) *lookupwire.Error {
	return &lookupwire.Error{Code: lookupwire.CodeUnauthorized, Desc: text}
}

// Recheck takes over what the token file says now, and ends the connection of a broker whose token is gone. It may be called while Serve
// runs.
func (s *Session) Recheck(now time.Time) {
	c := s.caller.Load()
	if c == nil {
		return
	}
	again := s.cfg.Gate.Tokens.Table().Again(c, now)
	if again == nil || !again.Grants.Anywhere(grant.Manage) {
		s.cfg.Log.Warn("broker is cut off: its grants are gone", "remote", s.RemoteAddress(), "caller", c.String())
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
