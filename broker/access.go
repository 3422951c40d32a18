package broker

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"strings"

	"brokerd/protocol/httpapi"
)

// access lists the options that say who is let in.
func (o *Options) access() []Setting {
	return []Setting{
		{Name: "token-file", Value: &o.TokenFile,
			Help: "file of tokens with what each may do; with it every call and command but a few needs a grant. See: brokerctl token"},
		{Name: "lookupd-token-file", Value: &o.LookupdTokenFile, Help: "file with this broker's own token, for lookups that ask for one"},
		{Name: "audit-log", Value: &o.AuditLog, Help: "file that every act over HTTP is written down in, besides the log: who, from where, what, and the answer"},
		{Name: "auth-http-api", Value: &o.AuthHTTPAPI,
			Help: "the auth daemon judges HTTP too, by the secret that is sent as Bearer: publish and subscribe let publish and see; more needs a token, or its own words read, manage and admin"},
		{Name: "auth-anchored", Value: &o.AuthAnchored, Help: "patterns of the auth daemon must match whole names, not a part of them"},
		{Name: "quota-publishes", Value: &o.QuotaPublishes, Help: "messages that one token, or address, publishes in a second; 0 means no limit"},
		{Name: "quota-bytes", Value: &o.QuotaBytes, Help: "bytes of these; 0 means no limit"},
		{Name: "quota-commands", Value: &o.QuotaCommands, Help: "commands and HTTP requests of one token, or address, in a second; 0 means no limit"},
		{Name: "http-allow-host", Key: "http_allow_hosts", Value: &o.HTTPAllowHosts,
			Help: "name that HTTP on the loopback may be called by, besides this machine's and the broadcast address; *.NAME for those below, * for all"},
		{Name: "http-allow-origin", Key: "http_allow_origins", Value: &o.HTTPAllowOrigins,
			Help: "pages of other sites that may act here, as https://tools.example.com"},
		{Name: "insecure", Value: &o.Insecure, Help: "profiles, and changes of options and of who is in the cluster, answer other machines too"},
	}
}

func (o *Options) checkAccess() error {
	if err := cmp.Or(within("quota-publishes", o.QuotaPublishes, 0, math.MaxInt64, notNegative),
		within("quota-bytes", o.QuotaBytes, 0, math.MaxInt64, notNegative), within("quota-commands", o.QuotaCommands, 0, math.MaxInt64, notNegative)); err != nil {
		return err
	}
	for _, h := range o.HTTPAllowHosts {
		if httpapi.CheckHost(h) != nil {
			return refuse("http-allow-host", "must be a host name without a port, as broker.example.com, *.example.com or *", h)
		}
	}
	for _, origin := range o.HTTPAllowOrigins {
		if httpapi.CheckOrigin(origin) != nil {
			return refuse("http-allow-origin", "must be as https://tools.example.com, with a scheme and without a path", origin)
		}
	}
	return nil
}

// door is who is let in to HTTP.
func (s *Server) door(o *Options) httpapi.Door {
	d := httpapi.Door{Hosts: append([]string{o.BroadcastAddress}, o.HTTPAllowHosts...), Origins: o.HTTPAllowOrigins, Insecure: o.Insecure, Audit: s.audit}
	switch file := s.tokens.File(); {
	case s.judgesHTTP(o):
		d.Guard = s.authHTTP
	case file != nil:
		d.Guard = httpapi.Tokens{File: file}
	}
	return d
}

// judgesHTTP reports whether an auth daemon is asked about HTTP.
func (s *Server) judgesHTTP(o *Options) bool { return o.AuthHTTPAPI && s.authNow.Load() != nil }

// exposed says what is open to whoever reaches it from another machine.
func (s *Server) exposed() []string {
	if table := s.tokens.Table(); table != nil {
		if anonymous := table.Anonymous().Grants; len(anonymous) > 0 {
			return []string{"whoever sends no token may " + anonymous.String() + ", by the token file's line for anonymous"}
		}
		return nil
	}
	o := s.now()
	verified := o.TLSClientAuthPolicy == "require-verify" // who speaks TLS must show a certificate
	acts := s.openActs(o)
	var list []string
	for _, d := range []struct {
		listener net.Listener
		flag     string
		what     string
		open     bool
	}{
		{s.doors.tcp, "--tcp-address", "publish and consume", s.authNow.Load() == nil && !(verified && o.TLSRequired != TLSNotRequired)},
		{s.doors.http, "--http-address", acts, o.TLSRequired != TLSRequired && !s.judgesHTTP(o)},
		{s.doors.https, "--https-address", acts, !verified && !s.judgesHTTP(o)},
	} {
		if d.open && d.listener != nil && httpapi.Reachable(d.listener.Addr()) {
			list = append(list, fmt.Sprintf("whoever reaches %s may %s; --token-file asks who it is, or let %s be a loopback address",
				d.listener.Addr(), d.what, d.flag))
		}
	}
	return list
}

// openActs says what whoever reaches HTTP may do where nobody is asked who he is.
func (s *Server) openActs(o *Options) string {
	acts := []string{"publish"}
	if o.HTTPMessages != "off" {
		acts = append(acts, "see messages")
	}
	acts = append(acts, "delete, empty and pause topics and channels")
	if o.Insecure {
		acts = append(acts, "change options", "see profiles")
		if s.member != nil {
			acts = append(acts, "change who is in the cluster")
		}
	}
	last := len(acts) - 1
	return strings.Join(acts[:last], ", ") + ", and " + acts[last]
}

// sayExposed logs what is open, once.
func (s *Server) sayExposed() {
	for _, text := range s.exposed() {
		s.log.Warn("open to other machines", "what", text)
	}
}
