package main

import (
	"os"

	"brokerd/cmd/cmdkit"
	"brokerd/lookup"
	"brokerd/protocol/httpapi"
)

func main() { os.Exit(run(cmdkit.NewProcess())) }

// run is lookupd from its arguments to its exit code.
func run(proc cmdkit.Process) int {
	opts := lookup.DefaultOptions()
	return program(&opts).Run(proc)
}

// program is lookupd as its user sees it; its settings set o.
func program(o *lookup.Options) cmdkit.Program {
	p := cmdkit.Program{
		Name:     "lookupd",
		About:    "tells NSQ's consumers which brokers carry a topic",
		Version:  lookup.Version,
		LogLevel: &o.LogLevel, LogFormat: &o.LogFormat, ShutdownTimeout: &o.ShutdownTimeout,
		Validate: func(cmdkit.Resolved) error { return o.Validate() },
		New: func(l cmdkit.Launch) (cmdkit.Daemon, error) {
			s, err := lookup.New(*o, l.Log)
			if err != nil {
				return nil, err
			}
			s.Configured(l.Level, l.Origins, l.Reload)
			return s, nil
		},
		Again: func() cmdkit.Program {
			fresh := lookup.DefaultOptions()
			return program(&fresh)
		},
		Reload: func(d cmdkit.Daemon, from httpapi.Origins, _ uint64) error {
			return d.(*lookup.Server).Reload(*o, from)
		},
	}
	for _, s := range o.Settings() {
		p.Settings = append(p.Settings, cmdkit.Setting(s))
	}
	return p
}
