package auth

import (
	"context"
	"errors"
	"time"

	"brokerd/protocol/grant"
)

// Access asks the token file and the auth daemons. At least one of the two is there, but for a reload that has turned auth off. It is safe for concurrent use.
type Access struct {
	Tokens *grant.File    // nil for none
	Daemon func() *Client // returns the one in force, nil for none
}

// errNobodyToAsk is the answer to a secret that is no token where there is no auth daemon.
var errNobodyToAsk = errors.New("the secret is no token, and there is no auth daemon to ask")

// Demanded reports whether clients are told to send AUTH. They are not while anonymous ones may publish or consume anything: clients that
// have no secret do not connect to a broker that demands one.
func (a *Access) Demanded() bool {
	return a.Tokens == nil || !a.Tokens.Table().Anonymous().Grants.Anywhere(grant.Publish|grant.Consume)
}

// Unasked returns what a client may do that has not sent AUTH, nil for nothing.
func (a *Access) Unasked(id Identity) *State {
	if a.Tokens == nil {
		return nil
	}
	table := a.Tokens.Table()
	if c, ok := table.ByCertificate(id.Names); ok {
		return ofCaller(c)
	}
	if c := table.Anonymous(); len(c.Grants) > 0 {
		return ofCaller(c)
	}
	return nil
}

// Query returns what the client may do that sent a secret. The error never holds the secret.
func (a *Access) Query(ctx context.Context, id Identity) (*State, error) {
	if a.Tokens != nil && grant.Looks(id.Secret) {
		c, err := a.Tokens.Table().ByToken(id.Secret, time.Now())
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

// Again returns what the token file says now of a client whom it has judged before, nil when it no longer knows him.
func (a *Access) Again(s *State, now time.Time) *State {
	c := a.Tokens.Table().Again(s.Caller, now)
	switch {
	case c == nil:
		return nil
	case c == s.Caller:
		return s
	}
	return ofCaller(c)
}
