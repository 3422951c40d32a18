package main

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"brokerd/admin"
	"brokerd/cmd/cmdkit"
)

func main() { os.Exit(run(cmdkit.NewProcess())) }

// options is what admind can be told: the server's options and the process's own.
type options struct {
	admin.Options
	shutdownTimeout time.Duration
}

func defaults() options {
	return options{Options: admin.DefaultOptions(), shutdownTimeout: 10 * time.Second}
}

// run is admind from its arguments to its exit code.
func run(proc cmdkit.Process) int {
	opts := defaults()
	p := program(&opts)
	if code, ok := p.Verb(proc); ok {
		return code
	}
	resolved, err := configure(p, &opts, proc)
	if err != nil {
		return p.Refuse(proc, err)
	}
	level := new(slog.LevelVar)
	if l, err := admin.ParseLogLevel(opts.LogLevel); err == nil { // Validate has seen to it
		level.Set(l)
	}
	log := cmdkit.NewLogger(proc.Stderr, opts.LogFormat, level)
	resolved.LogUnknownKeys(log)
	server, err := admin.New(opts.Options, log, level)
	if err != nil {
		return cmdkit.Fail(log, err)
	}
	daemon := cmdkit.Daemon{Start: server.Start, Failed: server.Failed(), Shutdown: server.Shutdown}
	return cmdkit.Serve(proc, log, daemon, opts.shutdownTimeout)
}

// configure fills o, which holds the defaults, from flags, environment and file, and validates it.
func configure(p cmdkit.Program, o *options, proc cmdkit.Process) (cmdkit.Resolved, error) {
	resolved, err := p.Resolve(proc.Args, proc.LookupEnv)
	if err != nil {
		return resolved, err
	}
	if o.shutdownTimeout <= 0 {
		err := errors.New("--shutdown-timeout must be more than 0, not \"" + o.shutdownTimeout.String() + "\"")
		return resolved, resolved.Locate("shutdown-timeout", err)
	}
	if err := o.Validate(); err != nil {
		return resolved, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return resolved, nil
}

// program is admind as its user sees it; its settings set o.
func program(o *options) cmdkit.Program {
	p := cmdkit.Program{
		Name:    "admind",
		About:   "the operators' web page and API over NSQ's brokers and lookups",
		Version: admin.Version,
		Verbs:   []cmdkit.Verb{userVerb(os.Stdin, os.Stderr)},
	}
	for _, s := range o.Settings() {
		p.Settings = append(p.Settings, cmdkit.Setting(s))
	}
	p.Settings = append(p.Settings, cmdkit.Setting{Name: "shutdown-timeout", Group: "Process", Value: &o.shutdownTimeout,
		Help: "time for an orderly stop after the first signal"})
	return p
}
