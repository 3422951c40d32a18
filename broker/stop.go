package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// answerTicks is how often it is looked whether consumers have answered all that they have.
const answerTicks = 2 * time.Millisecond

// Shutdown ends the broker so that nothing is delivered again that was answered. It stops delivering, stops accepting and
// leaves the lookups, then waits for the answers to what consumers have: at most a tenth of Options.ShutdownTimeout, and not at all when
// they have nothing. Publishes are accepted until then. After that it ends the sessions and HTTP, and saves every queue. When ctx
// ends first it drops connections but still saves. It returns what went wrong.
func (s *Server) Shutdown(ctx context.Context) error {
	var errs []error
	note := func(what string, err error) {
		if err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.drain.end()
	s.registry.SetDelivery(false) // first, so that consumers have the time of what follows to answer too
	if s.relay != nil {
		s.relay.Refuse()
	}
	note("closing the TCP listener", s.doors.tcp.Close())
	if s.doors.unix != nil {
		note("closing the unix socket", s.doors.unix.Close())
	}
	s.registrar.Close()
	grace, cancel := context.WithTimeout(ctx, s.opts.ShutdownTimeout/10)
	defer cancel()
	s.awaitAnswers(grace)
	if s.member != nil {
		s.member.Resign() // others serve what it led, while the rest of this takes its time
	}
	s.unfinished.Close()
	note("ending the sessions", s.sessions.Close(ctx))
	s.endHTTP(grace)
	s.settleEarly(ctx)
	s.stop()
	s.wg.Wait()
	note("saving the list of topics and channels", s.metadata.Save())
	note("saving the queues", s.registry.Close())
	if next, used := s.registry.NextID(); used {
		note("saving the message ids", s.ids.Close(next)) // before the manifest, which has a copy
	}
	if s.member != nil {
		s.member.Close()
		s.forward.Close()
		s.relay.Close()
	}
	if s.engine != nil {
		note("saving what is kept in the log", s.engine.Close())
	}
	s.lookupHTTP.Load().Close()
	if asks := s.authNow.Load(); asks != nil {
		asks.Close()
	}
	note("releasing the data folder", s.lock.Unlock())
	if len(errs) == 0 {
		s.log.Info("broker stopped")
	}
	return errors.Join(errs...)
}

// settleEarly sends on what was answered early to who leads now, for half of Options.ShutdownTimeout at most.
func (s *Server) settleEarly(ctx context.Context) {
	if s.forward == nil || s.forward.Early() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.ShutdownTimeout/2)
	defer cancel()
	s.log.Info("sending on what was answered early", "messages", s.forward.Early())
	if left := s.forward.Settle(ctx); left > 0 {
		s.log.Warn("not all that was answered early, as acks 0 or 1 asks for, could be sent on to who leads", "messages", left)
	}
}

// awaitAnswers returns once consumers have answered all that they have, or ctx ends. Nothing is delivered any more.
func (s *Server) awaitAnswers(ctx context.Context) {
	out := s.inFlight()
	if out == 0 {
		return
	}
	s.log.Info("waiting for answers", "in_flight", out)
	tick := time.NewTicker(answerTicks)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if out = s.inFlight(); out > 0 {
				s.log.Warn("not answered in time, and delivered again after the start", "in_flight", out)
			}
			return
		}
		if s.inFlight() == 0 {
			return
		}
	}
}

// inFlight returns how many messages consumers have, those that other brokers lead among them.
func (s *Server) inFlight() int {
	n := s.registry.InFlight()
	if s.relay != nil {
		n += s.relay.InFlight()
	}
	return n
}

// leastGrace is what HTTP requests in progress get at least to end.
const leastGrace = 250 * time.Millisecond

// endHTTP lets requests in progress end until ctx does, and drops the others: a profile that is taken, or a body that does not
// come, must not eat the time in which memory is saved.
func (s *Server) endHTTP(ctx context.Context) {
	if s.http == nil {
		return
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), leastGrace)
		defer cancel()
	}
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Warn("HTTP requests were dropped", "error", err)
	}
}

// Lost says what is lost when the process ends now: what is in memory only. What consumers have answered in the last moments may
// come again.
func (s *Server) Lost() string {
	const shown, patience = 5, time.Second
	found := make(chan string, 1)
	go func() { // the process is about to end: nobody waits for it longer than patience
		var lost []string
		n, topics := s.registry.Volatile()
		if n > 0 {
			names := strings.Join(topics[:min(shown, len(topics))], ", ")
			if more := len(topics) - shown; more > 0 {
				names += fmt.Sprintf(" and %d more", more)
			}
			lost = append(lost, fmt.Sprintf("%d messages in the memory of topics at level memory: %s", n, names))
		}
		if s.forward != nil && s.forward.Early() > 0 {
			lost = append(lost, fmt.Sprintf("%d messages of replicated topics that were answered early, as acks 0 or 1 asks for", s.forward.Early()))
		}
		if len(lost) == 0 {
			lost = []string{"nothing that was acknowledged"}
		}
		found <- strings.Join(lost, "; ")
	}()
	select {
	case text := <-found:
		return text
	case <-time.After(patience):
		return "what topics at level memory have in memory; how much cannot be told, something holds them up"
	}
}

// abandon closes what Start has opened before it failed.
func (s *Server) abandon() {
	s.doors.closeAll()
	if s.registry != nil {
		if err := s.registry.Close(); err != nil {
			s.log.Error("closing the queues", "error", err)
		}
	}
	if s.member != nil {
		s.member.Close()
	}
	if s.forward != nil {
		s.forward.Close()
	}
	if s.relay != nil {
		s.relay.Close()
	}
	if s.engine != nil {
		if err := s.engine.Abandon(); err != nil {
			s.log.Error("closing the log", "error", err)
		}
	}
	if s.lock != nil {
		_ = s.lock.Unlock()
	}
}
