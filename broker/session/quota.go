package session

import (
	"time"

	"brokerd/broker/quota"
)

// spending is what the client has sent since its account was last looked at. Only the reader uses it.
type spending struct {
	account                    *quota.Account // nil as long as there were no limits
	publishes, bytes, commands int64
}

const (
	look      = time.Second / 4 // how long a pause goes on without looking at the connection
	beforeAck = 10              // a consumer waits for this part of its message timeout at most
)

// setAccount finds the client's account: that of its token, or of its address where it has shown none.
func (s *Session) setAccount() {
	if !s.cfg.Quotas.On() {
		return
	}
	key := quota.Address(remoteIP(s.conn))
	if state := s.auth.Load(); state != nil && state.Known() {
		key = "identity " + state.Identity
		if state.Caller != nil {
			key = state.Caller.String()
		}
	}
	s.spent.account = s.cfg.Quotas.Of(key, time.Now())
}

// pay takes what was sent from the account, and has the reader wait as long as the client is over its quota. Everything that it is owed has been
// sent; heartbeats go on meanwhile. A consumer waits for less, since its answers are among what would be read late: what it owes then it
// pays with the next commands.
func (s *Session) pay() error {
	p := &s.spent
	if p.commands == 0 && p.bytes == 0 {
		return nil
	}
	if p.account == nil {
		if s.setAccount(); p.account == nil { // limits may be new
			p.publishes, p.bytes, p.commands = 0, 0, 0
			return nil
		}
	}
	wait := p.account.Spend(p.publishes, p.bytes, p.commands, time.Now())
	p.publishes, p.bytes, p.commands = 0, 0, 0
	if wait == 0 {
		return nil
	}
	if s.consuming() != nil {
		wait = min(wait, s.settings.msgTimeout/beforeAck)
	}
	s.wakes.pass()
	for end := time.Now().Add(wait); ; {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		s.link.beginCommand() // the client is not late: it is not read
		s.link.armed = -1     // so that a connection that was closed is noticed
		if err := s.link.prepare(); err != nil {
			return err
		}
		time.Sleep(min(left, look))
	}
}
