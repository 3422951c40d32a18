package lookup

import "strings"

// Setting is one option under all its names. It is the only list of them: flags, environment, file, help and HTTP's /config are made
// of it.
type Setting struct {
	Name  string // flag, without dashes
	Key   string // in the file and in /config
	Group string // heading in the help
	Help  string
	Value any // pointer into Options: *string, *bool, *time.Duration or *[]string

	EmptyCounts bool // an empty text says something; everywhere else it means that nothing was said
	Reload      bool // a reload changes it while the lookup runs
	Idle        bool // accepted for NSQ's scripts, without effect: who sets it is told so
}

// Settings lists every option, in the help's order, each with a pointer into o.
func (o *Options) Settings() []Setting {
	list := []Setting{
		{Name: "tcp-address", Group: "Addresses", Help: "brokers: host:port", Value: &o.TCPAddress},
		{Name: "http-address", Group: "Addresses", Help: "consumers and tools: host:port", Value: &o.HTTPAddress},
		{Name: "https-address", Group: "Addresses", EmptyCounts: true, Help: "HTTP over TLS: host:port; empty turns it off; only with --tls-cert",
			Value: &o.HTTPSAddress},
		{Name: "broadcast-address", Group: "Addresses", Value: &o.BroadcastAddress,
			Help: "host name or address that brokers reach this lookup by"},
		{Name: "inactive-producer-timeout", Group: "Registrations", Value: &o.InactiveProducerTimeout,
			Help: "a broker that has been silent for longer is hidden"},
		{Name: "tombstone-lifetime", Group: "Registrations", Value: &o.TombstoneLifetime,
			Help: "how long a broker stays hidden for a topic that is being deleted there"},
		{Name: "forget-topics-after", Group: "Registrations", Value: &o.ForgetTopicsAfter,
			Help: "how long a topic is known that no broker has any more and nobody made over HTTP; 0 means for good"},
		{Name: "tls-cert", Group: "TLS", Value: &o.TLSCert, Reload: true,
			Help: "certificate file; with --tls-key brokers may speak TLS on --tcp-address, and --https-address is served"},
		{Name: "tls-key", Group: "TLS", Value: &o.TLSKey, Reload: true, Help: "key file"},
		{Name: "tls-root-ca-file", Group: "TLS", Value: &o.TLSRootCAFile, Reload: true,
			Help: "authorities that certificates of brokers and clients are checked against"},
		{Name: "tls-client-auth-policy", Group: "TLS", Value: &o.TLSClientAuthPolicy, Reload: true,
			Help: "who speaks TLS must show a certificate: require (any) or require-verify (a verified one)"},
		{Name: "tls-required", Group: "TLS", Value: &o.TLSRequired, Reload: true, Help: "refuse plain text, from brokers and over HTTP; nsqd has nothing else"},
		{Name: "token-file", Group: "Access", Value: &o.TokenFile, Reload: true,
			Help: "file of tokens with what each may do; with it every call but a few and every registration needs a grant. See: brokerctl token"},
		{Name: "audit-log", Group: "Access", Value: &o.AuditLog, Reload: true,
			Help: "file that every act over HTTP is written down in, besides the log: who, from where, what, and the answer"},
		{Name: "allow-node", Key: "allow_nodes", Group: "Access", Value: &o.AllowedNodes, Reload: true,
			Help: "network, as 10.0.0.0/8, whose brokers may register without a token; others then need one"},
		{Name: "http-allow-host", Key: "http_allow_hosts", Group: "Access", Value: &o.AllowedHosts, Reload: true,
			Help: "name that HTTP on the loopback may be called by, besides this machine's and the broadcast address; *.NAME for those below, * for all"},
		{Name: "http-allow-origin", Key: "http_allow_origins", Group: "Access", Value: &o.AllowedOrigins, Reload: true,
			Help: "pages of other sites that may act here, as https://tools.example.com"},
		{Name: "insecure", Group: "Access", Value: &o.Insecure, Reload: true, Help: "profiles answer other machines too"},
		{Name: "log-level", Group: "Logging", Help: "debug, info, warn, error or fatal", Value: &o.LogLevel, Reload: true},
		{Name: "log-format", Group: "Logging", Help: "text or json", Value: &o.LogFormat},
		{Name: "log-prefix", Idle: true, Group: "Logging", Help: "accepted for nsqlookupd's scripts, without effect", Value: &o.LogPrefix,
			EmptyCounts: true},
		{Name: "shutdown-timeout", Group: "Process", Value: &o.ShutdownTimeout,
			Help: "time for an orderly stop; until it has passed only SIGQUIT ends it sooner"},
	}
	for i := range list {
		if list[i].Key == "" {
			list[i].Key = strings.ReplaceAll(list[i].Name, "-", "_")
		}
	}
	return list
}
