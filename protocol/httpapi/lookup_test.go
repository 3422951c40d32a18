package httpapi

import "testing"

// TestProducerAddresses: names and IPv4 addresses stay as they are, IPv6 addresses get brackets, once.
func TestProducerAddresses(t *testing.T) {
	for _, c := range []struct{ broadcast, tcp, http string }{
		{"host.domain.com", "host.domain.com:4150", "host.domain.com:4151"},
		{"192.168.1.17", "192.168.1.17:4150", "192.168.1.17:4151"},
		{"fd4a:622f:d2f2::1", "[fd4a:622f:d2f2::1]:4150", "[fd4a:622f:d2f2::1]:4151"},
	} {
		p := Producer{BroadcastAddress: c.broadcast, TCPPort: 4150, HTTPPort: 4151}
		if p.TCPAddress() != c.tcp || p.HTTPAddress() != c.http {
			t.Errorf("%s: %s and %s, want %s and %s", c.broadcast, p.TCPAddress(), p.HTTPAddress(), c.tcp, c.http)
		}
	}
}
