package admin

import "strings"

// Setting is one option under all its names. It is the only list of them: flags, environment, file, help and HTTP's /config are
// made of it. Only --shutdown-timeout, which nsqadmin does not tell, is the main package's.
type Setting struct {
	Name  string // flag, without dashes
	Key   string // in the file and in /config
	Group string // heading in the help
	Help  string
	Value any // pointer into Options: *string, *bool, *int, *int64, *time.Duration or *[]string

	EmptyCounts bool // an empty text says something, such as "off"; everywhere else it means that nothing was said
	Reload      bool // a reload changes it while the daemon runs
	Idle        bool // accepted for NSQ's scripts, without effect: who sets it is told so
}

// Settings lists every option that /config tells, in the help's order, each with a pointer into o.
func (o *Options) Settings() []Setting {
	list := []Setting{
		{Name: "http-address", Group: "Serving", Value: &o.HTTPAddress, Help: "page and API: host:port"},
		{Name: "base-path", Group: "Serving", Value: &o.BasePath, Help: "path that everything is under"},
		{Name: "tls-cert", Reload: true, Group: "Serving", Value: &o.TLSCert, Help: "certificate file; with --tls-key HTTPS is served instead of HTTP"},
		{Name: "tls-key", Reload: true, Group: "Serving", Value: &o.TLSKey, Help: "key file"},
		{Name: "tls-root-ca-file", Reload: true, Group: "Serving", Value: &o.ClientCAFile, Help: "authorities that callers' certificates are checked against, for cert lines of --token-file"},
		{Name: "dev-static-dir", Group: "Serving", Value: &o.DevStaticDir,
			Help: "folder to read the page's files from at each request, for those who work on them"},

		{Name: "lookupd-http-address", Reload: true, Key: "nsqlookupd_http_addresses", Group: "Daemons", Value: &o.LookupdHTTPAddresses,
			Help: "lookup, host:port"},
		{Name: "nsqd-http-address", Key: "nsqd_http_addresses", Group: "Daemons", Value: &o.NSQDHTTPAddresses,
			Help: "broker, host:port, where there are no lookups"},
		{Name: "refresh-interval", Group: "Daemons", Value: &o.RefreshInterval,
			Help: "between two rounds of asking all daemons; longer when their answers take long"},
		{Name: "state-path", Group: "Daemons", Value: &o.StatePath,
			Help: "file in which brokers that were seen are kept, so that one that is gone is missed after a restart too; without it only as long as admind runs"},
		{Name: "history-limit", Group: "Daemons", Value: &o.HistoryLimit, Help: "memory for the last 8 hours of figures, MiB, and at most as much for what they are of; 5,000 busy topics take 65"},
		{Name: "http-client-connect-timeout", Group: "Daemons", Value: &o.ConnectTimeout, Help: "for connecting to a daemon"},
		{Name: "http-client-request-timeout", Group: "Daemons", Value: &o.RequestTimeout, Help: "for a question to a daemon with its answer"},
		{Name: "http-client-tls-insecure-skip-verify", Reload: true, Group: "Daemons", Value: &o.TLSInsecure, Help: "take any certificate of a daemon"},
		{Name: "http-client-tls-root-ca-file", Reload: true, Group: "Daemons", Value: &o.TLSRootCAFile, Help: "authorities that daemons' certificates are checked against"},
		{Name: "http-client-token-file", Reload: true, Group: "Daemons", Value: &o.ClientToken, Help: "file with admind's own token, for daemons that ask for one"},
		{Name: "http-client-tls-cert", Reload: true, Group: "Daemons", Value: &o.ClientTLSCert, Help: "certificate file to show to daemons"},
		{Name: "http-client-tls-key", Reload: true, Group: "Daemons", Value: &o.ClientTLSKey, Help: "key file"},

		{Name: "token-file", Reload: true, Group: "Access", Value: &o.TokenFile,
			Help: "file of tokens with what each may do, for scripts and for signing in; what callers without one may says its line for anonymous. See: brokerctl token"},
		{Name: "users-file", Reload: true, Group: "Access", Value: &o.UsersFile,
			Help: "people sign in with a name and password of this file; see: admind user add"},
		{Name: "admin-user", Reload: true, Key: "admin_users", Group: "Access", Value: &o.AdminUsers,
			Help: "a proxy signs people in, and this one may act"},
		{Name: "viewer-user", Reload: true, Key: "viewer_users", Group: "Access", Value: &o.ViewerUsers,
			Help: "with --admin-user: this one may see, * is anybody that the proxy names; without it everybody may see"},
		{Name: "user-role", Reload: true, Key: "user_roles", Group: "Access", Value: &o.UserRoles,
			Help: "NAME:ROLE=PATTERN[,...]: what somebody may whom the proxy names, as alice:viewer,operator=orders.*"},
		{Name: "acl-http-header", Reload: true, Group: "Access", Value: &o.ACLHeader, Help: "header in which the proxy says who it is"},
		{Name: "trusted-proxy-cidr", Reload: true, Key: "trusted_proxy_cidrs", Group: "Access", Value: &o.TrustedProxy,
			Help: "peers whose header is believed; without it every peer's"},
		{Name: "http-allow-host", Reload: true, Key: "http_allow_hosts", Group: "Access", Value: &o.AllowedHosts,
			Help: "name that the loopback may be called by, besides this machine's; *.NAME for those below, * for all"},
		{Name: "allowed-host", Reload: true, Key: "allowed_hosts", Group: "Access", Value: &o.OldAllowedHosts, Help: "the same as --http-allow-host"},
		{Name: "http-allow-origin", Reload: true, Key: "http_allow_origins", Group: "Access", Value: &o.AllowedOrigins,
			Help: "pages of other sites that may act here, as https://tools.example.com"},
		{Name: "allow-config-from-cidr", Reload: true, EmptyCounts: true, Group: "Access", Value: &o.ConfigCIDR, Help: "peers that may use /config; empty means all"},
		{Name: "audit-log", Reload: true, Group: "Access", Value: &o.AuditLog, Help: "file that every act is written down in, besides the log"},
		{Name: "notification-http-endpoint", Group: "Access", Value: &o.NotificationEndpoint, Help: "URL that every act is told to"},

		{Name: "graphite-url", Group: "Graphite", Value: &o.GraphiteURL, Help: "where plots are linked to"},
		{Name: "proxy-graphite", Group: "Graphite", Value: &o.ProxyGraphite, Help: "fetch plots for the browsers"},
		{Name: "statsd-counter-format", EmptyCounts: true, Group: "Graphite", Value: &o.StatsdCounterFormat, Help: "of counters' names; %s is the name"},
		{Name: "statsd-gauge-format", EmptyCounts: true, Group: "Graphite", Value: &o.StatsdGaugeFormat, Help: "of gauges' names; %s is the name"},
		{Name: "statsd-prefix", EmptyCounts: true, Group: "Graphite", Value: &o.StatsdPrefix, Help: "of names; %s is the node"},
		{Name: "statsd-interval", Group: "Graphite", Value: &o.StatsdInterval, Help: "in which brokers send to statsd"},

		{Name: "log-level", Reload: true, Group: "Logging", Value: &o.LogLevel, Help: "debug, info, warn, error or fatal"},
		{Name: "log-format", Group: "Logging", Value: &o.LogFormat, Help: "text or json"},
		{Name: "log-prefix", EmptyCounts: true, Idle: true, Group: "Logging", Value: &o.LogPrefix, Help: "accepted for nsqadmin's scripts, without effect"},
	}
	for i := range list {
		if list[i].Key == "" {
			list[i].Key = strings.ReplaceAll(list[i].Name, "-", "_")
		}
	}
	return list
}
