package main

import (
	"errors"
	"io"

	"brokerd/broker"
	"brokerd/cmd/cmdkit"
)

// program is brokerd as its user sees it; its settings set o.
func program(o *broker.Options) cmdkit.Program {
	p := cmdkit.Program{
		Name:    "brokerd",
		About:   "a message broker for NSQ's clients",
		Version: broker.Version,
	}
	for _, s := range o.Settings() {
		p.Settings = append(p.Settings, cmdkit.Setting(s))
	}
	p.Verbs = []cmdkit.Verb{
		{Name: "check", Args: []string{"DATA-PATH"},
			Help: "read a stopped broker's folder, change nothing, and say what is in it and what a start would do; exit code 1 when " +
				"something is damaged",
			Run: func(args []string, out io.Writer) error { return broker.Check(args[0], out) }},
		{Name: "export", Args: []string{"DATA-PATH", "OUT-PATH"},
			Help: "write what a stopped broker has to deliver into an empty folder that an nsqd can be started on; its own folder " +
				"is not changed",
			Run: func(args []string, out io.Writer) error { return broker.Export(args[0], args[1], out) }},
	}
	return p
}

// configure fills o, which holds the defaults, from flags, environment and file, and validates it.
func configure(p cmdkit.Program, o *broker.Options, proc cmdkit.Process) (cmdkit.Resolved, error) {
	resolved, err := p.Resolve(proc.Args, proc.LookupEnv)
	if err != nil {
		return resolved, err
	}
	err = o.Validate()
	if bad := (*broker.OptionError)(nil); errors.As(err, &bad) {
		err = resolved.Locate(bad.Flag, err)
	}
	return resolved, err
}
