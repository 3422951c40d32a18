package broker

import (
	"context"
	"crypto/tls"
	"fmt"

	"brokerd/broker/registrar"
	"brokerd/protocol/httpapi"
)

// newRegistrar makes what tells the lookups. Its source is asked only after load has made the registry.
func (s *Server) newRegistrar() (err error) {
	o := &s.opts
	s.lookupHTTP.Store(s.newLookupHTTP(o, s.tlsNow()))
	cfg := registrar.Config{
		Addresses: o.LookupdTCPAddresses, Source: s.registered, Info: s.peerInfo, HTTP: s.lookupHTTP.Load, Logger: s.log,
	}
	if o.LookupdTLS {
		cfg.TLS = func() *tls.Config { return s.tlsNow().towardsLookups() }
	}
	s.registrar, err = registrar.New(cfg)
	if err != nil {
		return fmt.Errorf("--lookupd-tcp-address: %w", err)
	}
	return nil
}

// newLookupHTTP returns what lookups are asked by.
func (s *Server) newLookupHTTP(o *Options, c *tlsConfigs) *httpapi.HTTPClient {
	return httpapi.NewHTTPClient(httpapi.ClientConfig{TLS: c.towardsLookups(), ConnectTimeout: o.HTTPClientConnectTimeout,
		RequestTimeout: o.HTTPClientRequestTimeout, TokenFrom: s.token})
}

// token returns what lookups are shown.
func (s *Server) token() string { return s.ownToken.Load().Token() }

// registered returns what the lookups should know: all topics and channels that are not about to go, ephemeral ones too.
func (s *Server) registered() []registrar.Topic {
	var list []registrar.Topic
	for _, t := range s.registry.Topics() {
		if t.Exiting() {
			continue
		}
		r := registrar.Topic{Name: t.Name()}
		for _, c := range t.Channels() {
			r.Channels = append(r.Channels, c.Name())
		}
		list = append(list, r)
	}
	if s.member != nil {
		list = s.withFollowed(list)
	}
	return list
}

// peerInfo is how the broker introduces itself.
func (s *Server) peerInfo() registrar.Info {
	o := &s.opts
	return registrar.Info{
		BroadcastAddress: o.BroadcastAddress, TCPPort: s.broadcastTCPPort(), HTTPPort: s.broadcastHTTPPort(),
		Hostname: hostname(), Version: Version, TopologyZone: o.TopologyZone, TopologyRegion: o.TopologyRegion, Token: s.token(),
	}
}

// learn returns the channels of a topic that the lookups know.
func (s *Server) learn(ctx context.Context, name string) []string {
	return s.registrar.Channels(ctx, name)
}

// alone reports whether there is no lookup to learn from.
func (s *Server) alone() bool { return s.registrar.Alone() }
