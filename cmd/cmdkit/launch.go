package cmdkit

import (
	"fmt"
	"io"
	"log/slog"
	"sync"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/loglevel"
	"brokerd/protocol/release"
)

// Launch is what a daemon is made with.
type Launch struct {
	Log     *slog.Logger
	Level   *slog.LevelVar // changes what is logged at run time
	Origins httpapi.Origins
	// Reload reads file and environment anew and hands what they say to the daemon, through Program.Reload. Nothing has changed
	// when it fails. It is safe for concurrent use; nil when the program cannot.
	Reload func() error
}

// reloader reads a running daemon's settings anew.
type reloader struct {
	program Program
	proc    Process
	log     *slog.Logger

	mu     sync.Mutex // one at a time
	daemon Daemon     // nil before it is made
}

// Refusals of a reload.
var (
	errNotYet   = httpapi.NotNow("the daemon is still starting")
	errUnderWay = httpapi.NotNow("settings are being read anew already")
)

// reload does it, and says in the log how it went. Nobody waits for one that is under way: it may hang with the disk of its files.
func (r *reloader) reload() error {
	if !r.mu.TryLock() {
		r.log.Error("settings were not read anew", "error", errUnderWay)
		return errUnderWay
	}
	return r.unlocking()
}

// hangup is reload for a signal, whose sender is told of no refusal: what he has changed may have come behind what is read by one that is under way.
func (r *reloader) hangup() error {
	if !r.mu.TryLock() {
		r.log.Info("settings are being read anew already, and will be once more")
		r.mu.Lock()
	}
	return r.unlocking()
}

// unlocking does it with mu held, and gives that back.
func (r *reloader) unlocking() error {
	defer r.mu.Unlock()
	err := r.try()
	if err != nil {
		r.log.Error("settings were not read anew, nothing has changed", "error", err)
		return err
	}
	r.log.Info("settings were read anew")
	return nil
}

func (r *reloader) try() error {
	if r.daemon == nil {
		return errNotYet
	}
	again := r.program.Again()
	var changes uint64
	if again.Changes != nil {
		changes = again.Changes(r.daemon)
	}
	resolved, err := again.Configure(r.proc)
	if err != nil {
		if again.Refused != nil {
			again.Refused(r.daemon)
		}
		return err
	}
	resolved.WarnOfIgnored(r.log)
	return again.Reload(r.daemon, resolved.Origins(), changes)
}

// CheckConfig judges file, environment and flags, with the files that they name, as a start would, and says so; it starts nothing.
// A wrong setting is exit code 2.
func (p Program) CheckConfig(proc Process, resolved Resolved) int {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, u := range resolved.Unknown {
		fmt.Fprintf(proc.Stderr, "%s: warning: %s\n", p.Name, OneLine(u.text(resolved.File)))
	}
	if _, err := p.New(Launch{Log: quiet, Level: new(slog.LevelVar), Origins: resolved.Origins()}); err != nil {
		fmt.Fprintf(proc.Stderr, "%s: %v\n", p.Name, &lineError{err})
		return ExitUsage
	}
	from := "flags and environment"
	if resolved.File != "" {
		from = OneLine(resolved.File) + ", flags and environment"
	}
	fmt.Fprintf(proc.Stdout, "%s: %s are good\n", p.Name, from)
	return ExitOK
}

// level returns the level of the log that is set.
func (p Program) level() *slog.LevelVar {
	level := new(slog.LevelVar)
	if l, err := loglevel.Parse(*p.LogLevel); err == nil { // Configure has seen to it
		level.Set(l)
	}
	return level
}

// launch makes the daemon of a program whose settings have their values. reload is for signals, nil when the program cannot.
func (p Program) launch(proc Process, resolved Resolved, log *slog.Logger, level *slog.LevelVar) (daemon Daemon, reload func() error, err error) {
	log.Info("starting", append([]any{"program", p.Name}, release.This().Attrs()...)...)
	resolved.WarnOfIgnored(log)
	l := Launch{Log: log, Level: level, Origins: resolved.Origins()}
	r := &reloader{program: p, proc: proc, log: log}
	if p.Again != nil {
		l.Reload, reload = r.reload, r.hangup
	}
	daemon, err = p.New(l)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.daemon = daemon
	return daemon, reload, err
}
