package httpapi

import (
	"crypto/tls"
	"net/http"
	"sync/atomic"
)

// Transport makes the connections of an http.Client by a TLS configuration that may be replaced while it is used. It is safe for concurrent
// use; see NewTransport.
type Transport struct {
	with func(*tls.Config) *http.Transport
	now  atomic.Pointer[http.Transport]
}

// NewTransport returns one whose connections are made by what with returns for a configuration; nil means the system's authorities.
func NewTransport(cfg *tls.Config, with func(*tls.Config) *http.Transport) *Transport {
	t := &Transport{with: with}
	t.now.Store(with(cfg))
	return t
}

// RoundTrip is for http.Client.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.now.Load().RoundTrip(req)
}

// SetTLS has connections from now on be made by another configuration. Requests in progress end as they began; idle connections are closed.
func (t *Transport) SetTLS(cfg *tls.Config) { t.now.Swap(t.with(cfg)).CloseIdleConnections() }

// CloseIdleConnections closes what no request uses.
func (t *Transport) CloseIdleConnections() { t.now.Load().CloseIdleConnections() }
