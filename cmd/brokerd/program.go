package main

import (
	"errors"
	"io"

	"brokerd/broker"
	"brokerd/cmd/cmdkit"
	"brokerd/protocol/httpapi"
)

// program is brokerd as its user sees it; its settings set o.
func program(o *broker.Options) cmdkit.Program {
	p := cmdkit.Program{
		Name:    "brokerd",
		About:   "a message broker for NSQ's clients",
		Version: broker.Version,

		LogLevel: &o.LogLevel, LogFormat: &o.LogFormat, ShutdownTimeout: &o.ShutdownTimeout,
		Validate: func(resolved cmdkit.Resolved) error { return validate(o, resolved) },
		New: func(l cmdkit.Launch) (cmdkit.Daemon, error) {
			setProcessors(o)
			s, err := broker.New(*o, l.Log, l.Level)
			if err != nil {
				return nil, err
			}
			s.Configured(l.Origins, l.Reload)
			return s, nil
		},
		Again: func() cmdkit.Program {
			fresh := broker.DefaultOptions()
			return program(&fresh)
		},
		Reload: func(d cmdkit.Daemon, from httpapi.Origins, changes uint64) error {
			return d.(*broker.Server).ReloadSince(changes, *o, from)
		},
		Changes: func(d cmdkit.Daemon) uint64 { return d.(*broker.Server).Changes() },
		Refused: func(d cmdkit.Daemon) { d.(*broker.Server).ReloadRefused() },
	}
	for _, s := range o.Settings() {
		p.Settings = append(p.Settings, cmdkit.Setting(s))
	}
	acceptLoss, kept, read := new(bool), new(bool), new(broker.Reading)
	p.Verbs = []cmdkit.Verb{
		{Name: "check", Args: []string{"DATA-PATH"},
			Help: "read a stopped broker's folder, change nothing, and say what is in it and what a start would do; exit code 1 when " +
				"something is missing or damaged",
			Run: func(args []string, out io.Writer) error { return broker.Check(args[0], out, read) }, Progress: read.Text},
		{Name: "export", Args: []string{"DATA-PATH", "OUT-PATH"}, Switches: map[string]*bool{"kept": kept},
			Help: "write what a stopped broker has to deliver into an empty folder that an nsqd can be started on; its own folder " +
				"is not changed; with --kept each topic that keeps messages gets a channel kept there, which has all of these",
			Run: func(args []string, out io.Writer) error { return broker.Export(args[0], args[1], *kept, out, read) }, Progress: read.Text},
		{Name: "trace", Args: []string{"DATA-PATH", "TOPIC", "MESSAGE"},
			Help: "read a stopped broker's folder, change nothing, and say where one message is, which MESSAGE names by its id or its position, and " +
				"what its log has still of what happened to it",
			Run: func(args []string, out io.Writer) error { return broker.Trace(args[0], args[1], args[2], out, read) }, Progress: read.Text},
		{Name: "repair", Args: []string{"DATA-PATH"}, Switches: map[string]*bool{"accept-loss": acceptLoss},
			Help: "say which pieces of a stopped broker's folder are missing, for which a start refuses; with --accept-loss make the " +
				"folder whole without them, say what that costs, and move what is left out to set-aside/",
			Run: func(args []string, out io.Writer) error { return broker.Repair(args[0], *acceptLoss, out, read) }, Progress: read.Text},
	}
	return p
}

// validate checks o, and says of a wrong option where its value came from.
func validate(o *broker.Options, resolved cmdkit.Resolved) error {
	err := o.Validate()
	if bad := (*broker.OptionError)(nil); errors.As(err, &bad) {
		return resolved.Locate(bad.Flag, err)
	}
	return err
}
