package session

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"brokerd/broker/auth"
	"brokerd/protocol"
	"brokerd/protocol/grant"
)

// scopes is what each command needs of the token file: nothing for those that say who the client is, or that answer what a subscription
// brought, which is looked at when that begins and whenever grants change.
var scopes = map[protocol.Verb]grant.Scope{
	protocol.Identify: 0, protocol.Auth: 0, protocol.Nop: 0,
	protocol.Pub: grant.Publish, protocol.Mpub: grant.Publish, protocol.Dpub: grant.Publish,
	protocol.Sub: grant.Consume, protocol.Rdy: 0, protocol.Fin: 0, protocol.Req: 0, protocol.Touch: 0, protocol.Cls: 0,
}

// checkSecret carries out AUTH.
func (s *Session) checkSecret(secret string) error {
	if s.authed {
		return protocol.Errorf(protocol.CodeInvalid, "AUTH already set")
	}
	if s.cfg.Auth == nil || !s.cfg.Auth.On() {
		return protocol.Errorf(protocol.CodeAuthDisabled, "AUTH disabled")
	}
	id := s.identity()
	id.Secret = secret
	state, err := s.cfg.Auth.Query(context.Background(), id)
	if err != nil {
		return protocol.Errorf(protocol.CodeAuthFailed, "AUTH failed").Because(err)
	}
	if state.Permissions() == 0 {
		return protocol.Errorf(protocol.CodeUnauthorized, "AUTH no authorizations found")
	}
	if state.Caller == nil { // an auth daemon is asked again with it; a token is known by its digest
		s.secret = secret
	}
	s.authed = true
	s.auth.Store(state)
	s.setAccount()
	answer := protocol.AuthResponse{Identity: state.Identity, IdentityURL: state.IdentityURL, PermissionCount: state.Permissions()}
	text, err := json.Marshal(answer)
	if err != nil {
		return protocol.Errorf(protocol.CodeAuthError, "AUTH error %s", err).Because(err)
	}
	return s.out.frame(protocol.FrameResponse, string(text))
}

// identity is what is known of the client.
func (s *Session) identity() auth.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := &s.settings
	return auth.Identity{RemoteIP: remoteIP(s.conn), TLS: set.tls, CommonName: set.tlsCommonName, Names: set.tlsNames, Secret: s.secret}
}

// mayPublish checks that the client may publish to the topic that is aimed at. As long as nothing has changed that was found out before.
func (s *Session) mayPublish(command string) error {
	if s.cfg.Auth == nil {
		return nil
	}
	state := s.auth.Load()
	if state != nil && state == s.to.by && !(state.Lapses() && state.Expired(time.Now())) {
		return nil // also when nobody is asked any more
	}
	if !s.cfg.Auth.On() {
		return nil
	}
	if err := s.authorize(command, s.to.name, ""); err != nil {
		return err
	}
	s.to.by = s.auth.Load()
	return nil
}

// authorize checks that the client may use the topic, and the channel, which is empty for publishes.
func (s *Session) authorize(command, name, channel string) error {
	if s.cfg.Auth == nil || !s.cfg.Auth.On() {
		return nil
	}
	state := s.auth.Load()
	if state == nil || !state.Known() { // it may have shown a certificate since, or anonymous may more
		state = s.cfg.Auth.Unasked(s.identity())
		if state == nil || !state.Known() && !state.Allowed(name, channel) {
			return protocol.Errorf(protocol.CodeAuthFirst, "AUTH required before %s", command)
		}
		s.auth.Store(state)
	}
	if state.Lapses() && state.Expired(time.Now()) {
		again, err := s.renew(context.Background(), state)
		if err != nil {
			return protocol.Errorf(protocol.CodeAuthFailed, "AUTH failed").Because(err)
		}
		state = again
		s.auth.Store(state)
	}
	if !state.Allowed(name, channel) {
		return protocol.Errorf(protocol.CodeUnauthorized, "AUTH failed for %s on %q %q", command, name, channel)
	}
	return nil
}

// renew asks anew for a state that has expired.
func (s *Session) renew(ctx context.Context, state *auth.State) (*auth.State, error) {
	if state.Caller == nil {
		return s.cfg.Auth.Query(ctx, s.identity())
	}
	if again := s.cfg.Auth.Again(state, time.Now()); again != nil {
		return again, nil
	}
	return nil, grant.ErrExpired
}

const (
	grantsEvery = time.Second      // how long a change of grants can go unnoticed
	lastWord    = 3 * time.Second  // that a client which does not read is written to before it is cut off
	authGrace   = 30 * time.Second // for an auth daemon that does not answer, before the clients that it let in are cut off
	maxAsking   = 16               // questions to auth daemons at once
)

// KeepGrants cuts off clients whose grants are gone, until ctx ends: by the token file, or because the auth daemon takes them back when its
// answer has expired. It waits for what it has begun. Nothing ticks as long as there is no Authority.
func (v *Server) KeepGrants(ctx context.Context) {
	select {
	case <-v.authOn:
	case <-ctx.Done():
		return
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	places := make(chan struct{}, maxAsking)
	tick := time.NewTicker(grantsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		for _, s := range v.list() {
			state := s.auth.Load()
			switch {
			case state == nil:
			case s.cfg.Auth.Gone(state):
				asking.Go(func() {
					s.cutOff(protocol.Errorf(protocol.CodeAuthFailed, "AUTH failed: the auth daemon is no longer asked"))
				})
			case state.Caller != nil:
				if why := s.recheck(state, now); why != nil {
					asking.Go(func() { s.cutOff(why) })
				}
			case state.Expired(now) && s.consuming() != nil && s.asking.CompareAndSwap(false, true):
				asking.Go(func() {
					defer s.asking.Store(false)
					select {
					case places <- struct{}{}:
						defer func() { <-places }()
						s.askAgain(ctx, state)
					case <-ctx.Done():
					}
				})
			}
		}
	}
}

// list returns the sessions of this moment.
func (v *Server) list() []*Session {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := make([]*Session, 0, len(v.sessions))
	for s := range v.sessions {
		list = append(list, s)
	}
	return list
}

// recheck takes over what the token file says now, and returns why the client must leave, nil when it may stay.
func (s *Session) recheck(state *auth.State, now time.Time) *protocol.Error {
	again := s.cfg.Auth.Again(state, now)
	if again == state {
		return nil
	}
	if again == nil {
		return protocol.Errorf(protocol.CodeAuthFailed, "AUTH failed: the grants of %s are gone", state.Caller)
	}
	if why := s.lost(state, again); why != nil {
		return why
	}
	s.auth.CompareAndSwap(state, again)
	return nil
}

// lost returns why a client that does what it was allowed before must leave.
func (s *Session) lost(before, now *auth.State) *protocol.Error {
	if name, channel, ok := s.consumes(); ok && !now.Allowed(name, channel) {
		return protocol.Errorf(protocol.CodeUnauthorized, "AUTH failed for SUB on %q %q", name, channel)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.pubs {
		if before.Allowed(name, "") && !now.Allowed(name, "") {
			return protocol.Errorf(protocol.CodeUnauthorized, "AUTH failed for PUB on %q %q", name, "")
		}
	}
	return nil
}

// askAgain asks the auth daemon anew about a consumer whose grants have expired.
func (s *Session) askAgain(ctx context.Context, state *auth.State) {
	again, err := s.cfg.Auth.Query(ctx, s.identity())
	switch {
	case ctx.Err() != nil:
	case err != nil && time.Since(state.Expires()) < authGrace:
		s.cfg.Log.Warn("auth daemons do not answer for a consumer whose grants have expired", "peer", s.conn.RemoteAddr(), "error", err)
	case err != nil:
		s.cutOff(protocol.Errorf(protocol.CodeAuthFailed, "AUTH failed"))
	default:
		if why := s.lost(state, again); why != nil {
			s.cutOff(why)
			return
		}
		s.auth.CompareAndSwap(state, again)
	}
}

// cutOff tells the client why and ends the connection. A peer that does not read is not waited for.
func (s *Session) cutOff(why *protocol.Error) {
	s.cfg.Log.Info("client is cut off: its grants have changed", "peer", s.conn.RemoteAddr(), "reason", why.Error())
	end := time.AfterFunc(lastWord, s.Close)
	if s.out.frame(protocol.FrameError, why.Error()) == nil {
		_ = s.out.flush() // the connection ends either way
	}
	end.Stop()
	s.Close()
}
