package admin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"brokerd/admin/access"
	"brokerd/protocol"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/loglevel"
)

// Version is the version of NSQ whose behaviour is kept.
const Version = protocol.Version

// Options is everything that admind can be told. Start from DefaultOptions; Validate states the ranges.
type Options struct {
	HTTPAddress  string // host:port; port 0 means any that is free
	BasePath     string // before every path
	TLSCert      string // certificate file; with TLSKey the listener speaks HTTPS
	TLSKey       string
	ClientCAFile string // authorities for callers' certificates, which a token file may name; empty for none
	DevStaticDir string // folder with the pages' files, read at each request; empty for those in the binary

	LookupdHTTPAddresses []string // host:port; these, or brokers
	NSQDHTTPAddresses    []string // host:port

	ConnectTimeout time.Duration // to a daemon
	RequestTimeout time.Duration // of a question to a daemon, with its answer: its deadline
	TLSInsecure    bool          // take any certificate of a daemon
	TLSRootCAFile  string        // authorities for daemons' certificates; empty for the system's
	ClientToken    string        // file with the token that is shown to daemons; empty for none
	ClientTLSCert  string        // certificate shown to daemons
	ClientTLSKey   string

	RefreshInterval time.Duration // between two rounds of asking all daemons
	StatePath       string        // file in which the brokers that were seen are kept; empty for memory only
	HistoryLimit    int           // MiB

	TokenFile       string   // what callers with a token, with a certificate, and without either may; empty for none
	UsersFile       string   // names, hashes and roles; empty for none
	AdminUsers      []string // who may act, by ACLHeader
	ViewerUsers     []string // who else may see, by ACLHeader; empty for everybody
	UserRoles       []string // NAME:ROLES, what somebody may besides, by ACLHeader
	ACLHeader       string
	TrustedProxy    []string // CIDRs of peers whose ACLHeader is believed; empty for all
	AllowedHosts    []string // names in a Host header that are taken on the loopback, besides the machine's own
	OldAllowedHosts []string // the same, by the flag's old name
	AllowedOrigins  []string // of pages of other sites that may act here, as https://tools.example.com
	ConfigCIDR      string   // who may use /config; empty for everybody
	AuditLog        string   // file; empty for none

	NotificationEndpoint string // URL

	GraphiteURL         string
	ProxyGraphite       bool
	StatsdCounterFormat string
	StatsdGaugeFormat   string
	StatsdPrefix        string
	StatsdInterval      time.Duration

	LogLevel  string
	LogPrefix string
	LogFormat string // "text" or "json"

	ShutdownTimeout time.Duration // for an orderly stop; whoever calls Shutdown keeps to it
}

// DefaultOptions returns nsqadmin 1.3.0's defaults, and those of what is new.
func DefaultOptions() Options {
	return Options{
		HTTPAddress: "0.0.0.0:4171", BasePath: "/",
		ConnectTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second,
		RefreshInterval: 2 * time.Second, HistoryLimit: 128,
		ACLHeader: "X-Forwarded-User", ConfigCIDR: "127.0.0.1/8",
		StatsdCounterFormat: "stats.counters.%s.count", StatsdGaugeFormat: "stats.gauges.%s", StatsdPrefix: "nsq.%s",
		StatsdInterval: time.Minute,
		LogLevel:       "info", LogPrefix: "[admind] ", LogFormat: "text",
		ShutdownTimeout: 10 * time.Second,
	}
}

// NSQ's texts for what must be given.
var (
	errNoDaemons   = errors.New("--nsqd-http-address or --lookupd-http-address required")
	errBothDaemons = errors.New("use --nsqd-http-address or --lookupd-http-address not both")
)

// Validate returns the first thing that is wrong, or nil. It resolves no names: a daemon whose name cannot be found now may be
// found later.
func (o *Options) Validate() error {
	switch {
	case len(o.NSQDHTTPAddresses) == 0 && len(o.LookupdHTTPAddresses) == 0:
		return errNoDaemons
	case len(o.NSQDHTTPAddresses) > 0 && len(o.LookupdHTTPAddresses) > 0:
		return errBothDaemons
	}
	return errors.Join(o.validateAddresses(), o.validateTLS(), o.validateTimes(), o.validateAccess(), o.validateGraphite(), o.validateLog())
}

func (o *Options) validateAddresses() error {
	for _, a := range []struct {
		flag string
		list []string
	}{{"--http-address", []string{o.HTTPAddress}}, {"--lookupd-http-address", o.LookupdHTTPAddresses}, {"--nsqd-http-address", o.NSQDHTTPAddresses}} {
		for _, address := range a.list {
			if _, port, err := net.SplitHostPort(address); err != nil || port == "" || strings.ContainsAny(address, "/@") {
				return fmt.Errorf("%s must be host:port, not %q", a.flag, address)
			}
		}
	}
	return nil
}

func (o *Options) validateTLS() error {
	for _, pair := range []struct{ certFlag, cert, keyFlag, key string }{
		{"--http-client-tls-cert", o.ClientTLSCert, "--http-client-tls-key", o.ClientTLSKey}, {"--tls-cert", o.TLSCert, "--tls-key", o.TLSKey},
	} {
		switch {
		case pair.cert != "" && pair.key == "":
			return fmt.Errorf("%s must be specified with %s", pair.keyFlag, pair.certFlag)
		case pair.cert == "" && pair.key != "":
			return fmt.Errorf("%s must be specified with %s", pair.certFlag, pair.keyFlag)
		}
	}
	return nil
}

func (o *Options) validateTimes() error {
	for _, t := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"--http-client-connect-timeout", o.ConnectTimeout, time.Millisecond}, {"--http-client-request-timeout", o.RequestTimeout, time.Millisecond},
		{"--refresh-interval", o.RefreshInterval, 100 * time.Millisecond},
		{"--statsd-interval", o.StatsdInterval, time.Second},
	} {
		if t.value < t.least {
			return fmt.Errorf("%s must be at least %v, not %v", t.flag, t.least, t.value)
		}
	}
	if o.HistoryLimit < 0 || o.HistoryLimit > 1<<20 {
		return fmt.Errorf("--history-limit must be 0 to %d MiB, not %d", 1<<20, o.HistoryLimit)
	}
	return nil
}

func (o *Options) validateAccess() error {
	if o.UsersFile != "" && len(o.AdminUsers)+len(o.ViewerUsers)+len(o.UserRoles) > 0 {
		return errors.New("use --users-file or --admin-user, not both: people sign in here, or at a proxy")
	}
	if _, err := o.userRoles(); err != nil {
		return err
	}
	if o.ClientCAFile != "" && o.TLSCert == "" {
		return errors.New("--tls-root-ca-file needs --tls-cert and --tls-key")
	}
	if len(o.ViewerUsers) > 0 && len(o.AdminUsers)+len(o.UserRoles) == 0 {
		return errors.New("--viewer-user needs an --admin-user: nobody could act")
	}
	if o.ACLHeader == "" && len(o.AdminUsers)+len(o.UserRoles) > 0 {
		return errors.New("--acl-http-header must name a header, for --admin-user and --user-role")
	}
	if _, err := o.configPrefix(); err != nil {
		return fmt.Errorf("--allow-config-from-cidr: %w", err)
	}
	for _, h := range slices.Concat(o.AllowedHosts, o.OldAllowedHosts) {
		if err := httpapi.CheckHost(h); err != nil {
			return fmt.Errorf("--http-allow-host %w", err)
		}
	}
	for _, origin := range o.AllowedOrigins {
		if err := httpapi.CheckOrigin(origin); err != nil {
			return fmt.Errorf("--http-allow-origin %w", err)
		}
	}
	_, err := o.trustedPrefixes()
	return err
}

// userRoles returns what --user-role gives, by name.
func (o *Options) userRoles() (map[string]grant.Grants, error) {
	roles := map[string]grant.Grants{}
	for _, text := range o.UserRoles {
		name, g, err := access.ParseUserRole(text)
		if err != nil {
			return nil, fmt.Errorf("--user-role %w", err)
		}
		roles[name] = append(roles[name], g...)
	}
	return roles, nil
}

// configPrefix returns who may use /config, nil for everybody.
func (o *Options) configPrefix() (*netip.Prefix, error) {
	if o.ConfigCIDR == "" {
		return nil, nil
	}
	p, err := netip.ParsePrefix(o.ConfigCIDR)
	if err != nil {
		return nil, err
	}
	p = p.Masked()
	return &p, nil
}

func (o *Options) trustedPrefixes() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range o.TrustedProxy {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxy-cidr: %w", err)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

func (o *Options) validateGraphite() error {
	if _, err := o.graphiteURL(); err != nil {
		return err
	}
	if o.ProxyGraphite && o.GraphiteURL == "" {
		return errors.New("--proxy-graphite needs --graphite-url")
	}
	for _, f := range []struct{ flag, format string }{
		{"--statsd-counter-format", o.StatsdCounterFormat}, {"--statsd-gauge-format", o.StatsdGaugeFormat}, {"--statsd-prefix", o.StatsdPrefix},
	} {
		if strings.Count(strings.ReplaceAll(f.format, "%s", ""), "%") > 0 || strings.Count(f.format, "%s") > 1 {
			return fmt.Errorf("%s must have %%s once at most and no other %%, not %q", f.flag, f.format)
		}
	}
	if o.NotificationEndpoint != "" {
		if u, err := url.Parse(o.NotificationEndpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("--notification-http-endpoint must be an http or https URL, not %q", o.NotificationEndpoint)
		}
	}
	return nil
}

// graphiteURL returns where Graphite is, nil for nowhere.
func (o *Options) graphiteURL() (*url.URL, error) {
	if o.GraphiteURL == "" {
		return nil, nil
	}
	u, err := url.Parse(o.GraphiteURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--graphite-url must be an http or https URL, not %q", o.GraphiteURL)
	}
	return u, nil
}

func (o *Options) validateLog() error {
	if _, err := loglevel.Parse(o.LogLevel); err != nil {
		return fmt.Errorf("--log-level %w, not %q", err, o.LogLevel)
	}
	if o.LogFormat != "text" && o.LogFormat != "json" {
		return fmt.Errorf("--log-format must be text or json, not %q", o.LogFormat)
	}
	return nil
}

// hostname returns the host's name, or "localhost" when the system does not tell.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
