package appkit

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"brokerd/cmd/cmdkit"
	"brokerd/protocol"
)

// Version is the version of NSQ whose tools these stand for.
const Version = protocol.Version

// The exit codes of a tool.
const (
	ExitOK      = 0 // done, or stopped by a signal
	ExitFailed  = 1 // by an error, or by a second signal
	ExitUsage   = 2 // it was told something wrong: a flag, an argument, settings that do not fit each other
	ExitMissing = 3 // the topic, channel, node, option or context that it was told of does not exist
)

// RunFunc is a tool's work. It returns when it is done, soon after ctx is done, or with the reason why it cannot go on.
type RunFunc func(ctx context.Context, env *Env) error

// Command is a tool, a verb, or a group of them.
type Command struct {
	Name    string   // the word that picks it
	Aliases []string // other words that do
	NSQ     string   // the name of NSQ's tool: a program of this name is this command. Empty for none
	Summary string   // one line without a full stop
	Help    string   // what it does and what it promises
	Example string   // command lines as one would type them
	// Args names the positional arguments: one in brackets may be left out, the last may be repeated with "..."; empty refuses
	// any. The names TOPIC, CHANNEL, TOPIC/CHANNEL, NODE and CONTEXT are completed by what Names of the root says.
	Args   string
	Hidden bool // from the help of its group
	// Service says that it runs for long and speaks by its log, at level info. Other commands log warnings only, and end with
	// a plain line.
	Service bool
	Hangup  bool // SIGHUP comes over Env.Hangup; otherwise it stops the tool as SIGTERM does
	// Progress adds --status-interval and --json, for a tool that calls Env.Progress.
	Progress bool
	// Alone says that it asks no daemon, so that contexts and the environment tell it nothing.
	Alone bool
	// OneKind says that brokers and lookups cannot be given both. Where a context or the environment does, the lookups count.
	OneKind bool
	// Setup registers flags and returns the work. It is called once for each run, with a fresh set.
	Setup func(flags *flag.FlagSet) RunFunc
	// Sub makes the command a group: the next argument names one of them. Setup is not used then.
	Sub []Command
	// Names returns the names that daemons know, for whoever completes a command line. Only the root's is used; nil knows none.
	Names func(ctx context.Context, kind string, line Line) []string
}

// Process is the surroundings of a tool, so that tests can stand in for them.
type Process struct {
	Name           string // the program's, as it was called; empty: the root command's
	Args           []string
	Environ        []string // NAME=value
	ConfigDir      string   // where contexts are kept; empty: there are none
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan os.Signal // interrupts, terminations and hang-ups; nil: none come
	CompleteWithin time.Duration    // how long a shell waits for the names of topics and channels; 0: a second
}

// NewProcess is the process that runs. From then on it takes the signals that a tool knows.
func NewProcess() Process {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	dir, _ := os.UserConfigDir() // without one there are no contexts, and whoever wants one is told so
	return Process{Name: programName(os.Args[0]), Args: os.Args[1:], Environ: os.Environ(), ConfigDir: dir,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals}
}

// Env is what a tool is given to work with.
type Env struct {
	Name           string // of the tool
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer // Stderr shares the log's lock, so that neither tears the other's lines
	Log            *slog.Logger
	Hangup         <-chan struct{} // one element for hang-ups since the last; nil unless Command.Hangup
	Contexts       *Contexts       // where daemons are, by name

	process        Process
	console        *console
	statusInterval time.Duration
	json           bool // print what was done as JSON, by Progress
	token          string
	files          map[string]string // see File
	tls            *tls.Config       // nil when no flag says anything
	notes          bool              // see Note
	service        bool
}

// UserAgent is how the tool names itself to daemons.
func (e *Env) UserAgent() string { return e.Name + "/" + Version + " " + clientLibrary }

// Token is the secret that daemons are shown; empty for none.
func (e *Env) Token() string { return e.token }

// File is the path that one of the flags says which name what daemons are shown: token-file, tls-root-ca-file, tls-cert, tls-key. Empty for
// nothing.
func (e *Env) File(flag string) string { return e.files[flag] }

// Note prints a line for the person in front of it on the error output, unless only errors are wanted there.
func (e *Env) Note(format string, args ...any) {
	if e.notes {
		fmt.Fprintf(e.Stderr, format+"\n", args...)
	}
}

// usageError is a mistake in how the tool was called that only shows after the flags were parsed.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usagef returns an error about what the tool was told: it is printed as one plain line with a hint at the help.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// missingError says that what the tool was told of does not exist.
type missingError struct{ error }

func (e missingError) Unwrap() error { return e.error }

// Missingf returns an error about something that does not exist, for exit code 3.
func Missingf(format string, args ...any) error { return missingError{fmt.Errorf(format, args...)} }

// call is a command with its flags parsed, ready to run.
type call struct {
	command Command
	path    string // of the command, as it was typed
	common  *commonFlags
	args    []string
	token   string
	tls     *tls.Config
	work    RunFunc
}

// run starts the work and sees it to its end.
func (c *call) run(proc Process) int {
	out, printed := newConsole(proc.Stderr), &noted{to: proc.Stdout}
	if c.common.statusInterval > 0 {
		c.common.level = min(c.common.level, slog.LevelInfo)
	}
	env := &Env{
		Name: c.command.Name, Args: c.args, Stdin: proc.Stdin, Stdout: printed, Stderr: out,
		Log: cmdkit.NewLogger(out, c.common.format, c.common.level), Contexts: NewContexts(proc.ConfigDir), process: proc,
		console: out, statusInterval: c.common.statusInterval, json: c.common.json, token: c.token, files: c.common.files(), tls: c.tls,
		service: c.command.Service, notes: c.common.format == "text" && c.common.level <= slog.LevelWarn,
	}
	hangup := make(chan struct{}, 1)
	if c.command.Hangup {
		env.Hangup = hangup
	}
	for _, warning := range c.common.warnings {
		env.Log.Warn(warning)
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
			if failed := printed.failed(); err == nil && failed != nil {
				err = fmt.Errorf("writing out: %w", failed)
			}
			return c.exit(ctx, env, err)
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

// noted is the output of a tool, which need not look at each error: what could not be written has it fail in the end.
type noted struct {
	to io.Writer

	mu  sync.Mutex
	err error // the first one
}

// Write writes, and notes an error.
func (n *noted) Write(p []byte) (int, error) {
	written, err := n.to.Write(p)
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.err == nil {
			n.err = err
		}
	}
	return written, err
}

func (n *noted) failed() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// exit says why the work failed, if it did, and returns the exit code.
func (c *call) exit(ctx context.Context, env *Env, err error) int {
	code := ExitFailed
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return ExitOK
	case errors.As(err, new(usageError)):
		fmt.Fprintf(env.Stderr, "%s: %s: see %s --help\n", c.path, cmdkit.OneLine(err.Error()), c.path)
		return ExitUsage
	case errors.As(err, new(missingError)):
		code = ExitMissing
	}
	if c.command.Service || c.common.format != "text" {
		cmdkit.LogFatal(env.Log, "failed", err)
	} else {
		fmt.Fprintf(env.Stderr, "%s: %v\n", c.path, err)
	}
	return code
}
