package lookup

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
	"unicode"

	"brokerd/protocol"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/loglevel"
)

// Version is what lookups tell brokers and tools: the version of NSQ whose behaviour is kept.
const Version = protocol.Version

// Options is everything a lookup can be told. Start from DefaultOptions; Validate states the ranges.
type Options struct {
	TCPAddress  string // host:port for brokers; port 0 means any that is free
	HTTPAddress string // host:port for everybody else

	// BroadcastAddress is a host name or IP address where brokers reach this lookup's HTTP: they ask it for a new topic's
	// channels before they move messages.
	BroadcastAddress string

	InactiveProducerTimeout time.Duration // a broker silent for longer is hidden; NSQ's brokers ping every 15 s
	TombstoneLifetime       time.Duration // how long a broker is hidden for a topic that is being deleted there

	ForgetTopicsAfter time.Duration // how long a topic is known that no broker has any more; 0: for good

	// A certificate has brokers that begin with TLS be served on TCPAddress too, and HTTPSAddress be listened on.
	HTTPSAddress        string // host:port; empty: none
	TLSCert, TLSKey     string // files; with neither TLS is off
	TLSRootCAFile       string // authorities that certificates of brokers and clients are checked against
	TLSClientAuthPolicy string // "", "require" or "require-verify"
	TLSRequired         bool   // plain text is refused

	TokenFile      string   // who may do what; empty: everybody everything, as far as AllowedNodes does not say otherwise
	AuditLog       string   // file that acts over HTTP are written down in; empty for none
	AllowedNodes   []string // CIDRs of networks whose brokers may register without a token; with neither, every broker may
	AllowedHosts   []string // names in a Host header that are taken on the loopback, besides this machine's and BroadcastAddress
	AllowedOrigins []string // of pages of other sites that may act here, as https://tools.example.com
	Insecure       bool     // profiles are for other machines too

	LogLevel  string // debug, info, warn, error, fatal
	LogPrefix string // before each line
	LogFormat string // "text" or "json"

	ShutdownTimeout time.Duration // for an orderly stop; whoever calls Shutdown keeps to it
}

// DefaultOptions returns nsqlookupd 1.3.0's defaults.
func DefaultOptions() Options {
	return Options{
		TCPAddress:              "0.0.0.0:4160",
		HTTPAddress:             "0.0.0.0:4161",
		HTTPSAddress:            "0.0.0.0:4162",
		BroadcastAddress:        hostname(),
		InactiveProducerTimeout: 300 * time.Second,
		TombstoneLifetime:       45 * time.Second,
		ForgetTopicsAfter:       24 * time.Hour,
		LogLevel:                "info",
		LogPrefix:               "[lookupd] ",
		LogFormat:               "text",
		ShutdownTimeout:         10 * time.Second,
	}
}

// Validate returns everything that is wrong, joined, or nil.
func (o Options) Validate() error {
	var wrong []error
	for _, a := range []struct{ name, address string }{{"--tcp-address", o.TCPAddress}, {"--http-address", o.HTTPAddress}, {"--https-address", o.HTTPSAddress}} {
		if a.address == "" && a.name == "--https-address" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.address); err != nil {
			wrong = append(wrong, fmt.Errorf("%s must be host:port, not %q", a.name, a.address))
		}
	}
	if o.BroadcastAddress == "" || strings.ContainsFunc(o.BroadcastAddress, unicode.IsSpace) {
		wrong = append(wrong, fmt.Errorf("--broadcast-address must be a host name or an IP address, not %q", o.BroadcastAddress))
	}
	if o.InactiveProducerTimeout <= 0 {
		wrong = append(wrong, fmt.Errorf("--inactive-producer-timeout must be more than 0, not %v", o.InactiveProducerTimeout))
	}
	if o.TombstoneLifetime < 0 {
		wrong = append(wrong, fmt.Errorf("--tombstone-lifetime must be 0 or more, not %v", o.TombstoneLifetime))
	}
	if _, err := loglevel.Parse(o.LogLevel); err != nil {
		wrong = append(wrong, fmt.Errorf("--log-level %w, not %q", err, o.LogLevel))
	}
	if o.LogFormat != "text" && o.LogFormat != "json" {
		wrong = append(wrong, fmt.Errorf("--log-format must be text or json, not %q", o.LogFormat))
	}
	if o.ForgetTopicsAfter < 0 {
		wrong = append(wrong, fmt.Errorf("--forget-topics-after must be 0 or more, not %v", o.ForgetTopicsAfter))
	}
	if err := o.validateTLS(); err != nil {
		wrong = append(wrong, err)
	}
	if _, err := o.networks(); err != nil {
		wrong = append(wrong, err)
	}
	for _, h := range o.AllowedHosts {
		if err := httpapi.CheckHost(h); err != nil {
			wrong = append(wrong, fmt.Errorf("--http-allow-host %w", err))
		}
	}
	for _, origin := range o.AllowedOrigins {
		if err := httpapi.CheckOrigin(origin); err != nil {
			wrong = append(wrong, fmt.Errorf("--http-allow-origin %w", err))
		}
	}
	return errors.Join(wrong...)
}

// networks returns the networks whose brokers may register without a token.
func (o Options) networks() (list []netip.Prefix, err error) {
	for _, text := range o.AllowedNodes {
		p, err := netip.ParsePrefix(text)
		if addr, single := netip.ParseAddr(text); single == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("--allow-node must be an address or a network as 10.0.0.0/8, not %q", text)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

// minCommandTimeout is four of the pings that NSQ's brokers send.
const minCommandTimeout = time.Minute

// commandTimeout is the silence after which a broker's connection is closed: twice what hides it, so that a broker that was
// only slow is told again by its next ping, and a minute at least.
func (o Options) commandTimeout() time.Duration {
	return max(2*o.InactiveProducerTimeout, minCommandTimeout)
}

// hostname returns the host's name, or "localhost" when the system does not tell.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
