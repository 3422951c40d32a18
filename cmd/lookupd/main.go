package main

import (
	"log/slog"
	"os"

	"brokerd/cmd/cmdkit"
	"brokerd/lookup"
)

func main() { os.Exit(run(cmdkit.NewProcess())) }

// run is lookupd from its arguments to its exit code.
func run(proc cmdkit.Process) int {
	opts := lookup.DefaultOptions()
	return program(&opts).Run(proc)
}

// program is lookupd as its user sees it; its settings set o.
func program(o *lookup.Options) cmdkit.Program {
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
			{Name: "http-allow-host", Key: "http_allow_hosts", Group: "Access", Value: &o.AllowedHosts,
				Help: "name that HTTP on the loopback may be called by, besides this machine's and the broadcast address; *.NAME for those below, * for all"},
			{Name: "http-allow-origin", Key: "http_allow_origins", Group: "Access", Value: &o.AllowedOrigins,
				Help: "pages of other sites that may act here, as https://tools.example.com"},
			{Name: "insecure", Group: "Access", Value: &o.Insecure, Help: "profiles answer other machines too"},
			{Name: "log-level", Group: "Logging", Help: "debug, info, warn, error or fatal", Value: &o.LogLevel},
			{Name: "log-format", Group: "Logging", Help: "text or json", Value: &o.LogFormat},
			{Name: "log-prefix", Group: "Logging", Help: "accepted for nsqlookupd's scripts, without effect", Value: &o.LogPrefix,
				EmptyCounts: true},
			{Name: "shutdown-timeout", Group: "Process", Value: &o.ShutdownTimeout,
				Help: "time for an orderly stop; until it has passed only SIGQUIT ends it sooner"},
		},
		LogLevel: &o.LogLevel, LogFormat: &o.LogFormat, ShutdownTimeout: &o.ShutdownTimeout,
		Validate: func(cmdkit.Resolved) error { return o.Validate() },
		New: func(log *slog.Logger, _ *slog.LevelVar) (cmdkit.Daemon, error) {
			return lookup.New(*o, log)
		},
	}
}
