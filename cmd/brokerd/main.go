package main

import (
	"context"
	"log/slog"
	"os"

	"brokerd/broker"
	"brokerd/cmd/cmdkit"
)

func main() { os.Exit(run(cmdkit.NewProcess())) }

// run is brokerd from its arguments to its exit code.
func run(proc cmdkit.Process) int {
	opts := broker.DefaultOptions()
	p := program(&opts)
	if code, ok := p.Verb(proc); ok {
		return code
	}
	resolved, err := configure(p, &opts, proc)
	if err != nil {
		return p.Refuse(proc, err)
	}
	level := new(slog.LevelVar)
	if l, err := broker.ParseLogLevel(opts.LogLevel); err == nil { // Validate has seen to it
		level.Set(l)
	}
	log := cmdkit.NewLogger(proc.Stderr, opts.LogFormat, level)
	resolved.LogUnknownKeys(log)
	server, err := broker.New(opts, log, level)
	if err != nil {
		return cmdkit.Fail(log, err)
	}
	spareProcessor(&opts)
	defer keepSmall()()
	daemon := cmdkit.Daemon{
		Start:    func(context.Context) error { return server.Start() },
		Failed:   server.Err(),
		Shutdown: server.Shutdown,
	}
	return cmdkit.Serve(proc, log, daemon, opts.ShutdownTimeout)
}
