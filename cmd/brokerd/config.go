package main

import (
	"errors"

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
