package cmdkit

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// The exit codes of a daemon.
const (
	ExitOK     = 0 // stopped as asked
	ExitFailed = 1 // could not start, ended by itself, or was not allowed to end in order
	ExitUsage  = 2 // was told something wrong
)

// Process is the surroundings of a daemon, so that tests can stand in for them.
type Process struct {
	Name    string // that the program was called by; empty: its own
	Args    []string
	Environ []string // "KEY=value" each
	Stdout  io.Writer
	Stderr  io.Writer
	Signals <-chan os.Signal // the ones that ask for an end: interrupt, SIGTERM and SIGQUIT
	Hangups <-chan os.Signal // the one that asks for a reload: SIGHUP
	Serves  func()           // is called before a daemon is made; nil: there is nothing to do
}

// NewProcess is the process that runs; it takes the signals that ask for an end.
func NewProcess() Process {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	return Process{Name: name, Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals, Hangups: hangups, Serves: survivePipes}
}

// survivePipes has a reader of the log that has gone be an error of a write, and not the end of the process, as it is for a verb.
func survivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// Run is a command from its arguments to its exit code: it carries out a verb, or runs the daemon until a signal.
func (p Program) Run(proc Process) int {
	if code, ok := p.Verb(proc); ok {
		return code
	}
	resolved, err := p.Configure(proc)
	if err != nil {
		return p.Refuse(proc, err)
	}
	if resolved.Check {
		return p.CheckConfig(proc, resolved)
	}
	if proc.Serves != nil {
		proc.Serves()
	}
	level := p.level()
	var log *slog.Logger
	out := newLines(proc.Stderr, func(dropped int) {
		log.Warn("lines of the log were dropped: they could not be written", "lines", dropped)
	})
	defer out.close()
	log = NewLogger(out, *p.LogFormat, level)
	daemon, reload, err := p.launch(proc, resolved, log, level)
	if err != nil {
		LogFatal(log, "cannot start", err)
		return ExitFailed
	}
	return Serve(proc, log, daemon, reload, *p.ShutdownTimeout)
}

// Configure gives every setting its value and has the whole validated. An error is ErrHelp, ErrVersion, or one line that says what
// is wrong.
func (p Program) Configure(proc Process) (Resolved, error) {
	resolved, err := p.Resolve(proc.Args, proc.Environ)
	if err != nil {
		return resolved, err
	}
	if *p.ShutdownTimeout <= 0 {
		err := fmt.Errorf("--shutdown-timeout must be more than 0, not %q", p.ShutdownTimeout)
		return resolved, resolved.Locate("shutdown-timeout", err)
	}
	if err := p.Validate(resolved); err != nil {
		return resolved, &lineError{err}
	}
	return resolved, nil
}

// lineError is an error on one line, whatever was joined and whatever names files have.
type lineError struct{ error }

func (e *lineError) Error() string { return OneLine(strings.ReplaceAll(e.error.Error(), "\n", "; ")) }
func (e *lineError) Unwrap() error { return e.error }

// Refuse prints what Configure returned and gives the exit code.
func (p Program) Refuse(proc Process, err error) int {
	switch {
	case errors.Is(err, ErrHelp):
		fmt.Fprint(proc.Stdout, p.Help())
		return ExitOK
	case errors.Is(err, ErrVersion):
		fmt.Fprintln(proc.Stdout, p.VersionLine(proc.Name))
		return ExitOK
	}
	fmt.Fprintf(proc.Stderr, "%s: %s\n", p.Name, OneLine(err.Error()))
	return ExitUsage
}
