package appkit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"brokerd/cmd/cmdkit"
	"brokerd/protocol"
)

// Version is the tools' version; it is the daemons' too.
const Version = protocol.Version

// The exit codes of a tool.
const (
	ExitOK     = 0 // done, or stopped by a signal
	ExitFailed = 1 // by an error, by settings that do not fit each other, or by a second signal
	ExitUsage  = 2 // a flag could not be understood
)

// RunFunc is a tool's work. It returns when it is done, soon after ctx is done, or with the reason why it cannot go on.
type RunFunc func(ctx context.Context, env *Env) error

// Command is a tool, or a group of them.
type Command struct {
	Name    string // of the program, and of the first argument that picks it in a group
	Summary string // one line without a full stop
	Help    string // what it does and what it promises
	Example string // command lines as one would type them
	Args    string // names of the positional arguments; empty refuses any
	// Verbatim leaves what stands behind the first positional argument as it is, for a command that is given another's
	// command line. Otherwise flags may stand behind positional arguments.
	Verbatim bool
	Hangup   bool // SIGHUP comes over Env.Hangup; otherwise it stops the tool as SIGTERM does
	// Progress adds --status-interval, for a tool that calls Env.Progress.
	Progress bool
	// Setup registers flags and returns the work. It is called once for each run, with a fresh set.
	Setup func(flags *flag.FlagSet) RunFunc
	// Sub makes the command a group: the first argument names one of them. Setup is not used then.
	Sub []Command
}

// Process is the surroundings of a tool, so that tests can stand in for them.
type Process struct {
	Name           string // what the help calls the program; empty: the command's own name
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan os.Signal // interrupts, terminations and hang-ups; nil: none come
}

// NewProcess is the process that runs. From then on it takes the signals that a tool knows.
func NewProcess() Process {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return Process{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals}
}

// Env is what a tool is given to work with.
type Env struct {
	Name           string // of the tool
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer // Stderr shares the log's lock, so that neither tears the other's lines
	Log            *slog.Logger
	Hangup         <-chan struct{} // one element for hang-ups since the last; nil unless Command.Hangup

	console        *console
	statusInterval time.Duration
}

// UserAgent is how the tool names itself to daemons.
func (e *Env) UserAgent() string { return e.Name + "/" + Version + " " + clientLibrary }

// usageError is a mistake in how the tool was called that only shows after the flags were parsed.
type usageError struct{ error }

// Usagef returns an error about settings: it is printed as one plain line with a hint at the help.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs a tool as this process and ends it.
func Main(c Command) { os.Exit(Run(c, NewProcess())) }

// Run runs a tool from its arguments to its exit code.
func Run(c Command, proc Process) int {
	if proc.Name == "" {
		proc.Name = c.Name
	}
	if len(c.Sub) > 0 {
		return runGroup(c, proc)
	}
	call, err := parse(c, proc)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(proc.Stdout, c.help(proc.Name))
		return ExitOK
	case errors.Is(err, errVersion):
		fmt.Fprintf(proc.Stdout, "%s v%s\n", proc.Name, Version)
		return ExitOK
	case err != nil:
		fmt.Fprintf(proc.Stderr, "%s: %v: see %s --help\n", proc.Name, err, proc.Name)
		if errors.As(err, new(usageError)) {
			return ExitFailed
		}
		return ExitUsage
	}
	return call.run(proc)
}

// runGroup hands the rest of the arguments to the command that the first one names.
func runGroup(c Command, proc Process) int {
	if len(proc.Args) == 0 {
		fmt.Fprint(proc.Stderr, c.help(proc.Name))
		return ExitUsage
	}
	switch name := proc.Args[0]; strings.TrimLeft(name, "-") {
	case "help", "h":
		fmt.Fprint(proc.Stdout, c.help(proc.Name))
		return ExitOK
	case "version":
		fmt.Fprintf(proc.Stdout, "%s v%s\n", proc.Name, Version)
		return ExitOK
	default:
		i := slices.IndexFunc(c.Sub, func(s Command) bool { return s.Name == name })
		if i < 0 {
			fmt.Fprintf(proc.Stderr, "%s: unknown command %q: see %s --help\n", proc.Name, name, proc.Name)
			return ExitUsage
		}
		proc.Name, proc.Args = proc.Name+" "+name, proc.Args[1:]
		return Run(c.Sub[i], proc)
	}
}

// call is a command with its flags parsed, ready to run.
type call struct {
	command Command
	common  *commonFlags
	args    []string
	work    RunFunc
}

// run starts the work and sees it to its end.
func (c *call) run(proc Process) int {
	out := newConsole(proc.Stderr)
	env := &Env{
		Name: c.command.Name, Args: c.args, Stdin: proc.Stdin, Stdout: proc.Stdout, Stderr: out,
		Log: cmdkit.NewLogger(out, c.common.format, c.common.level), console: out, statusInterval: c.common.statusInterval,
	}
	hangup := make(chan struct{}, 1)
	if c.command.Hangup {
		env.Hangup = hangup
	}
	for _, key := range c.common.unknownKeys {
		env.Log.Debug("ignored a key of the file", "file", c.common.config, "key", key)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.work(ctx, env) }()
	for {
		select {
		case err := <-ended:
			return c.exit(ctx, proc, env, err)
		case s := <-proc.Signals:
			switch {
			case s == syscall.SIGHUP && c.command.Hangup:
				select {
				case hangup <- struct{}{}:
				default: // one is on its way already
				}
			case ctx.Err() != nil:
				cmdkit.LogFatal(env.Log, "ended at once", fmt.Errorf("second signal: %v", s))
				return ExitFailed
			default:
				env.Log.Info("stopping", "signal", s.String())
				cancel()
			}
		}
	}
}

// exit says why the work failed, if it did, and returns the exit code.
func (c *call) exit(ctx context.Context, proc Process, env *Env, err error) int {
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return ExitOK
	case errors.As(err, new(usageError)):
		fmt.Fprintf(env.Stderr, "%s: %v: see %s --help\n", proc.Name, err, proc.Name)
	default:
		cmdkit.LogFatal(env.Log, "failed", err)
	}
	return ExitFailed
}
