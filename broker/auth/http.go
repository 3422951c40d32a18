package auth

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// HTTP judges HTTP requests as Access judges clients: it is an httpapi.Guard. Answers of an auth daemon are kept as long as they hold. It is safe
// for concurrent use.
type HTTP struct {
	access *Access
	asking chan struct{} // places for questions to auth daemons at once

	mu    sync.Mutex
	known map[[sha256.Size]byte]*grant.Caller // by what the daemon was asked; guarded by mu
}

const (
	maxAsking = 16
	maxKnown  = 10_000
)

// NewHTTP returns one that knows nobody yet.
func NewHTTP(access *Access) *HTTP {
	return &HTTP{access: access, asking: make(chan struct{}, maxAsking), known: map[[sha256.Size]byte]*grant.Caller{}}
}

// Forget drops the answers that are kept: others may be asked now.
func (h *HTTP) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.known)
}

const bearer = "bearer "

// Caller returns who a request is from: by the token file what has the form of a token, by the auth daemon any other secret that is sent as Bearer.
func (h *HTTP) Caller(req *http.Request) (*grant.Caller, error) {
	text := req.Header.Get("Authorization")
	isBearer := len(text) > len(bearer) && strings.EqualFold(text[:len(bearer)], bearer)
	secret := ""
	if isBearer {
		secret = strings.TrimSpace(text[len(bearer):])
	}
	file := h.access.Tokens.File()
	switch {
	case file != nil && (text == "" || grant.Looks(secret)):
		return httpapi.Tokens{File: file}.Caller(req)
	case text == "":
		return &grant.Caller{Kind: grant.Anonymous}, nil
	case !isBearer:
		return nil, httpapi.Errorf(http.StatusUnauthorized, "TOKEN_REQUIRED: only Authorization: Bearer SECRET is understood")
	}
	return h.ask(req, identityOf(req, secret))
}

func identityOf(req *http.Request, secret string) Identity {
	id := Identity{TLS: req.TLS != nil, Names: httpapi.CertificateNames(req), Secret: secret}
	id.RemoteIP, _, _ = net.SplitHostPort(req.RemoteAddr) // empty on a unix socket
	if req.TLS != nil && len(req.TLS.PeerCertificates) > 0 {
		id.CommonName = req.TLS.PeerCertificates[0].Subject.CommonName
	}
	return id
}

// ask returns what an auth daemon says, or has said and still holds.
func (h *HTTP) ask(req *http.Request, id Identity) (*grant.Caller, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%q %v %q %q", id.RemoteIP, id.TLS, id.CommonName, id.Secret))
	h.mu.Lock()
	c := h.known[key]
	h.mu.Unlock()
	if c != nil && !c.Expired(time.Now()) {
		return h.withAnonymous(c), nil
	}
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-req.Context().Done():
		return nil, httpapi.Errorf(http.StatusUnauthorized, "AUTH_FAILED: the request ended before it was judged")
	}
	state, err := h.access.Query(req.Context(), id)
	if err != nil {
		return nil, httpapi.Errorf(http.StatusUnauthorized, "AUTH_FAILED: %v", err) // which never holds the secret
	}
	if state.Caller != nil { // by his certificate: the daemon had nothing to say, which is not to be kept
		return state.Caller, nil
	}
	c = &grant.Caller{Kind: grant.Identity, Name: state.Identity, Grants: state.grants(), Expires: state.Expires()}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= maxKnown {
		clear(h.known)
	}
	h.known[key] = c
	return h.withAnonymous(c), nil
}

// withAnonymous returns the caller with what the token file lets everybody do now, which is not kept: it may be withdrawn sooner than c expires.
func (h *HTTP) withAnonymous(c *grant.Caller) *grant.Caller {
	table := h.access.Tokens.Table()
	if table == nil || len(table.Anonymous().Grants) == 0 {
		return c
	}
	return &grant.Caller{Kind: c.Kind, Name: c.Name, Grants: slices.Concat(c.Grants, table.Anonymous().Grants), Expires: c.Expires}
}
