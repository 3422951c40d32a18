package main

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"brokerd/cmd/cmdkit"
	"brokerd/lookup"
)

func main() { os.Exit(run(cmdkit.NewProcess())) }

// options is what lookupd can be told: the lookup's options and the process's own.
type options struct {
	lookup.Options
	shutdownTimeout time.Duration
}

func defaults() options {
	return options{Options: lookup.DefaultOptions(), shutdownTimeout: 10 * time.Second}
}

// run is lookupd from its arguments to its exit code.
func run(proc cmdkit.Process) int {
	opts := defaults()
	p := program(&opts)
	resolved, err := configure(p, &opts, proc)
	if err != nil {
		return p.Refuse(proc, err)
	}
	var word cmdkit.Level
	level := new(slog.LevelVar)
	if err := word.Set(opts.LogLevel); err == nil { // Validate has seen to it
		level.Set(slog.Level(word))
	}
	log := cmdkit.NewLogger(proc.Stderr, opts.LogFormat, level)
	resolved.LogUnknownKeys(log)
	server, err := lookup.New(opts.Options, log)
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

// program is lookupd as its user sees it; its settings set o.
func program(o *options) cmdkit.Program {
	return cmdkit.Program{
		Name:    "lookupd",
		About:   "tells NSQ's consumers which brokers carry a topic",
		Version: lookup.Version,
		Settings: []cmdkit.Setting{
			{Name: "tcp-address", Group: "Addresses", Help: "brokers: host:port", Value: &o.TCPAddress},
			{Name: "http-address", Group: "Addresses", Help: "consumers and tools: host:port", Value: &o.HTTPAddress},
			{Name: "broadcast-address", Group: "Addresses", Value: &o.BroadcastAddress,
				Help: "host name or address that brokers reach this lookup by"},
			{Name: "inactive-producer-timeout", Group: "Registrations", Value: &o.InactiveProducerTimeout,
				Help: "a broker that has been silent for longer is hidden"},
			{Name: "tombstone-lifetime", Group: "Registrations", Value: &o.TombstoneLifetime,
				Help: "how long a broker stays hidden for a topic that is being deleted there"},
			{Name: "log-level", Group: "Logging", Help: "debug, info, warn, error or fatal", Value: &o.LogLevel},
			{Name: "log-format", Group: "Logging", Help: "text or json", Value: &o.LogFormat},
			{Name: "log-prefix", Group: "Logging", Help: "accepted for nsqlookupd's scripts, without effect", Value: &o.LogPrefix},
			{Name: "shutdown-timeout", Group: "Process", Value: &o.shutdownTimeout,
				Help: "time for an orderly stop after the first signal"},
		},
	}
}
