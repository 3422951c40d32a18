package cmdkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"brokerd/protocol/loglevel"
)

// Daemon is what Serve runs.
type Daemon interface {
	// Start binds and begins to serve; it does not block, but it may take long. When ctx ends first it gives up with ctx's
	// error, and leaves all as a start would have.
	Start(ctx context.Context) error
	// Failed delivers the error that ended serving, if one did; nil when the daemon has done what it was to do, and is to be stopped.
	Failed() <-chan error
	// Shutdown ends in order, or as far as it gets before ctx is done.
	Shutdown(ctx context.Context) error
	// Lost says what is lost when the process ends now, while it serves or while Shutdown runs. It does not wait for either.
	Lost() string
}

// serving is a daemon between its start and its end.
type serving struct {
	Daemon
	signals <-chan os.Signal
	hangups <-chan os.Signal
	reload  func() error // nil when there is none; it logs how it went
	log     *slog.Logger
}

// Serve starts the daemon, waits for a signal or for its failure, stops it and returns the exit code. The first interrupt or
// SIGTERM begins an orderly stop, also of a daemon that is still starting; others change nothing until timeout has passed, and
// end the process after that. SIGQUIT ends it at any time, and says what is lost.
//
// SIGHUP has the daemon read its settings anew, while it serves; at other times it changes nothing.
func Serve(proc Process, log *slog.Logger, d Daemon, reload func() error, timeout time.Duration) int {
	s := serving{Daemon: d, signals: proc.Signals, hangups: proc.Hangups, reload: reload, log: log}
	stop, code, ended := s.start()
	if ended {
		return code
	}
	if !stop {
		if code, ended = s.serve(); ended {
			return code
		}
	}
	return s.stop(code, timeout)
}

// start starts the daemon. stop reports that it is to stop at once; ended, that there is nothing to stop.
func (s *serving) start() (stop bool, code int, ended bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- s.Start(ctx) }() // ends with Start, which is waited for unless the process ends
	for {
		select {
		case err := <-started:
			switch {
			case err == nil:
				return ctx.Err() != nil, ExitOK, false
			case ctx.Err() != nil && errors.Is(err, context.Canceled):
				s.log.Info("stopped before it served")
				return false, ExitOK, true
			}
			LogFatal(s.log, "cannot start", err)
			return false, ExitFailed, true
		case sig := <-s.signals:
			if sig == syscall.SIGQUIT {
				s.endedAtOnce(sig, "nothing, it was still starting")
				return false, ExitFailed, true
			}
			if ctx.Err() == nil {
				s.log.Info("stopping", "signal", sig.String(), "while", "starting")
				cancel()
			}
		}
	}
}

// reloadTime is for how long a stop waits for settings that are being read.
const reloadTime = time.Second

// serve waits until the daemon is to stop, or reports that it has ended. Settings are read beside it: a disk that does not answer keeps no signal waiting.
func (s *serving) serve() (code int, ended bool) {
	hangups, reloaded := s.hangups, make(chan struct{}, 1)
	for {
		select {
		case <-hangups:
			if s.reload == nil {
				s.log.Warn("SIGHUP changes nothing here")
				continue
			}
			hangups = nil // one at a time; the next waits in its channel
			go func() {   // ends with the reload, which the next one waits for, and a stop for reloadTime
				_ = s.reload() // it is in the log
				reloaded <- struct{}{}
			}()
		case <-reloaded:
			hangups = s.hangups
		case sig := <-s.signals:
			if sig == syscall.SIGQUIT {
				s.endedAtOnce(sig, s.Lost())
				return ExitFailed, true
			}
			s.log.Info("stopping", "signal", sig.String())
			if hangups == nil && s.hangups != nil {
				select {
				case <-reloaded:
				case <-time.After(reloadTime): // it waits for a disk
				}
			}
			return ExitOK, false
		case err := <-s.Failed():
			if err == nil {
				return ExitOK, false // it ends of itself, in order
			}
			LogFatal(s.log, "stopping", err)
			return ExitFailed, false
		}
	}
}

// stop stops the daemon; code is what it returns when that goes well.
func (s *serving) stop(code int, timeout time.Duration) int {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(ctx) }() // ends with Shutdown, which is waited for unless the process ends
	late, again := ctx.Done(), false
	for {
		select {
		case err := <-stopped:
			if err != nil {
				LogFatal(s.log, "did not stop in order", err)
				return ExitFailed
			}
			return code
		case <-late:
			late = nil
			s.log.Warn("still stopping: one more signal ends it at once", "shutdown_timeout", timeout)
		case sig := <-s.signals:
			if sig == syscall.SIGQUIT || ctx.Err() != nil {
				s.endedAtOnce(sig, s.Lost())
				return ExitFailed
			}
			if !again {
				again = true
				s.log.Warn("stopping already: only SIGQUIT ends it at once", "signal", sig.String(), "shutdown_timeout", timeout)
			}
		}
	}
}

// endedAtOnce writes the line of an end that nothing was saved for.
func (s *serving) endedAtOnce(sig os.Signal, lost string) {
	s.log.Log(context.Background(), loglevel.Fatal, "ended at once", "error", fmt.Sprintf("signal: %v", sig), "lost", lost)
}
