package auth

import (
	"context"
	"errors"
	"time"

	"brokerd/protocol/grant"
)

// Access asks the token file and the auth daemons. At least one of the two is there, but for a reload that has turned both off. It is safe
// for concurrent use.
type Access struct {
	Tokens *grant.Slot
	Daemon func() *Client // returns the one in force, nil for none
}

// On reports whether anybody is asked who he is.
func (a *Access) On() bool { return a.Tokens.File() != nil || a.Daemon() != nil }

// Gone reports whether who has judged a client is no longer asked, while somebody else is.
func (a *Access) Gone(s *State) bool { return s.Caller == nil && a.Daemon() == nil && a.On() }

// errNobodyToAsk is the answer to a secret that is no token where there is no auth daemon.
var errNobodyToAsk = errors.New("the secret is no token, and there is no auth daemon to ask")

// Demanded reports whether clients are told to send AUTH. They are not while anonymous ones may publish or consume anything: clients that
// have no secret do not connect to a broker that demands one.
func (a *Access) Demanded() bool {
	table := a.Tokens.Table()
	if table == nil {
		return a.Daemon() != nil
	}
	return !table.Anonymous().Grants.Anywhere(grant.Publish | grant.Consume)
}

// Unasked returns what a client may do that has not sent AUTH, nil for nothing.
func (a *Access) Unasked(id Identity) *State {
	table := a.Tokens.Table()
	if table == nil {
		return nil
	}
	if c, ok := table.ByCertificate(id.Names); ok {
		return ofCaller(c)
	}
	if c := table.Anonymous(); len(c.Grants) > 0 {
		return ofCaller(c)
	}
	return nil
}

// Query returns what the client may do that sent a secret. Where the secret says nothing a verified certificate counts: stock clients send AUTH
// with some secret, or give up, when that is demanded before it is known who they are. The error never holds the secret.
func (a *Access) Query(ctx context.Context, id Identity) (*State, error) {
	state, err := a.bySecret(ctx, id)
	if err == nil || grant.Looks(id.Secret) {
		return state, err
	}
	if c := a.byCertificate(id); c != nil {
		return ofCaller(c), nil
	}
	return nil, err
}

// byCertificate returns who shows a verified certificate that the token file knows, nil for nobody.
func (a *Access) byCertificate(id Identity) *grant.Caller {
	table := a.Tokens.Table()
	if table == nil {
		return nil
	}
	c, ok := table.ByCertificate(id.Names)
	if !ok {
		return nil
	}
	return c
}

func (a *Access) bySecret(ctx context.Context, id Identity) (*State, error) {
	if table := a.Tokens.Table(); table != nil && grant.Looks(id.Secret) {
		c, err := table.ByToken(id.Secret, time.Now())
		if err != nil {
			return nil, err
		}
		return ofCaller(c), nil
	}
	daemon := a.Daemon()
	if daemon == nil {
		return nil, errNobodyToAsk
	}
	return daemon.Query(ctx, id)
}

// Again returns what the token file says now of a client whom it has judged before, nil when it no longer knows him. Where nobody is asked any
// more all stay what they are.
func (a *Access) Again(s *State, now time.Time) *State {
	table := a.Tokens.Table()
	if table == nil {
		if a.On() {
			return nil
		}
		return s
	}
	c := table.Again(s.Caller, now)
	switch {
	case c == nil:
		return nil
	case c == s.Caller:
		return s
	}
	return ofCaller(c)
}
