package session

import (
	"errors"
	"os"
	"time"
)

// errSilent ends a connection whose peer has sent no command for two heartbeat intervals.
var errSilent = errors.New("no command within two heartbeat intervals")

// setHeartbeat sets the interval, 0 for none, and begins it.
func (l *link) setHeartbeat(interval time.Duration) {
	now := l.now()
	l.interval, l.newLine = interval, false
	l.nextBeat, l.dead = now+interval, 0
	if interval > 0 {
		l.dead = now + 2*interval
	}
	l.wmu.Lock()
	l.writeLimit, l.writeArmed = interval, 0
	if interval == 0 {
		_ = l.SetWriteDeadline(time.Time{})
	}
	l.wmu.Unlock()
}

// setDead has the peer count as gone at that time from now; without heartbeats, 0 is never.
func (l *link) setDead(in time.Duration) {
	l.dead = 0
	if in > 0 {
		l.dead = l.now() + in
	}
}

// attend reads until it has something, sends the heartbeats that fall due meanwhile, and gives up on a silent peer.
func (l *link) attend(p []byte) (filled []byte, n int, err error) {
	for {
		if err := l.prepare(); err != nil {
			return nil, 0, err
		}
		if l.until.Load() != 0 {
			filled, n, more, err := l.readRest(p)
			if !more {
				return filled, n, err
			}
			continue
		}
		filled, n, err = l.read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return filled, n, err
		}
	}
}

// prepare sends a heartbeat that is due, and sets the deadline of the next read.
func (l *link) prepare() error {
	if l.interval == 0 && l.dead == 0 {
		return l.arm(0)
	}
	now := l.now()
	if l.newLine {
		l.newLine = false
		l.dead = now + 2*l.interval
	}
	if now >= l.dead {
		return errSilent
	}
	if l.beat == nil || l.interval == 0 {
		return l.arm(l.dead)
	}
	if now >= l.nextBeat {
		l.nextBeat = now + l.interval
		if err := l.beat(); err != nil {
			return err
		}
	}
	return l.arm(min(l.nextBeat, l.dead))
}

// informed does what may take the reader up to Config.Wait, and sends heartbeats meanwhile that it would be late with, by more than a client with such an
// interval may put up with.
func (s *Session) informed(do func() error) error {
	l := s.link
	if s.cfg.Forward == nil && s.cfg.Relays == nil || l.interval == 0 || l.interval > 2*s.cfg.Wait {
		return do()
	}
	done, ended := make(chan struct{}), make(chan error)
	go func() { ended <- s.beatUntil(done) }()
	err := do()
	close(done)
	if silent := <-ended; silent != nil {
		return silent // nothing can be answered
	}
	return err
}

// beatUntil sends heartbeats in place of the reader.
func (s *Session) beatUntil(done <-chan struct{}) error {
	l := s.link
	t := time.NewTimer(l.nextBeat - l.now())
	defer t.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-t.C:
		}
		l.nextBeat = l.now() + l.interval
		if err := s.beat(); err != nil {
			return err
		}
		t.Reset(l.interval)
	}
}
