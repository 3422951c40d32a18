package main

import (
	"os"

	"brokerd/admin"
	"brokerd/cmd/cmdkit"
	"brokerd/protocol/httpapi"
)

func main() { os.Exit(run(cmdkit.NewProcess())) }

// run is admind from its arguments to its exit code.
func run(proc cmdkit.Process) int {
	opts := admin.DefaultOptions()
	return program(&opts).Run(proc)
}

// program is admind as its user sees it; its settings set o.
func program(o *admin.Options) cmdkit.Program {
	p := cmdkit.Program{
		Name:     "admind",
		About:    "the operators' web page and API over NSQ's brokers and lookups",
		Version:  admin.Version,
		Verbs:    []cmdkit.Verb{userVerb(os.Stdin, os.Stderr)},
		LogLevel: &o.LogLevel, LogFormat: &o.LogFormat, ShutdownTimeout: &o.ShutdownTimeout,
		Validate: func(cmdkit.Resolved) error { return o.Validate() },
		New: func(l cmdkit.Launch) (cmdkit.Daemon, error) {
			s, err := admin.New(*o, l.Log, l.Level)
			if err != nil {
				return nil, err
			}
			s.Configured(l.Origins, l.Reload)
			return s, nil
		},
		Again: func() cmdkit.Program {
			fresh := admin.DefaultOptions()
			return program(&fresh)
		},
		Reload: func(d cmdkit.Daemon, from httpapi.Origins, changes uint64) error {
			return d.(*admin.Server).ReloadSince(changes, *o, from)
		},
		Changes: func(d cmdkit.Daemon) uint64 { return d.(*admin.Server).Changes() },
	}
	for _, s := range o.Settings() {
		p.Settings = append(p.Settings, cmdkit.Setting(s))
	}
	p.Settings = append(p.Settings, cmdkit.Setting{Name: "shutdown-timeout", Group: "Process", Value: &o.ShutdownTimeout,
		Help: "time for an orderly stop; until it has passed only SIGQUIT ends it sooner"})
	return p
}
