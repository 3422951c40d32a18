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

// HTTP judges HTTP requests as Access judges clients: it is an httpapi.Guard. Answers of an auth daemon are kept as long as they hold, that
// there was none for failedFor. It is safe for concurrent use.
type HTTP struct {
	access *Access
	asking chan struct{} // places for questions to auth daemons at once

	mu     sync.Mutex
	known  map[[sha256.Size]byte]*grant.Caller // by what the daemon was asked; guarded by mu
	failed map[[sha256.Size]byte]failure       // the same
}

// failure is why no daemon has let somebody in.
type failure struct {
	err   error
	until time.Time // nobody is asked again before
}

// failedFor is how long a failure is kept: whoever asks again and again would have each request wait for a daemon that is gone.
const failedFor = time.Second

const (
	maxAsking = 16
	maxKnown  = 10_000
)

// NewHTTP returns one that knows nobody yet.
func NewHTTP(access *Access) *HTTP {
	return &HTTP{access: access, asking: make(chan struct{}, maxAsking), known: map[[sha256.Size]byte]*grant.Caller{}, failed: map[[sha256.Size]byte]failure{}}
}

// Forget drops the answers that are kept: others may be asked now.
func (h *HTTP) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.known)
	clear(h.failed)
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
	if c, err := h.kept(key, id); c != nil || err != nil {
		return c, err
	}
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-req.Context().Done():
		return nil, httpapi.Errorf(http.StatusUnauthorized, "AUTH_FAILED: the request ended before it was judged")
	}
	if c, err := h.kept(key, id); c != nil || err != nil { // since this one waits for a place
		return c, err
	}
	state, err := h.access.bySecret(req.Context(), id)
	if err != nil {
		if req.Context().Err() == nil { // else it is the caller who has ended it
			keep(h, h.failed, key, failure{err, time.Now().Add(failedFor)})
		}
		return h.unanswered(id, err)
	}
	if state.Caller != nil { // a token, of a file that has just come
		return state.Caller, nil
	}
	c := &grant.Caller{Kind: grant.Identity, Name: state.Identity, Grants: state.grants(), Expires: state.Expires()}
	keep(h, h.known, key, c)
	return h.withAnonymous(c), nil
}

// kept returns what is known without asking; neither a caller nor an error when nothing is.
func (h *HTTP) kept(key [sha256.Size]byte, id Identity) (*grant.Caller, error) {
	now := time.Now()
	h.mu.Lock()
	c, failed := h.known[key], h.failed[key]
	h.mu.Unlock()
	switch {
	case c != nil && !c.Expired(now):
		return h.withAnonymous(c), nil
	case now.Before(failed.until):
		return h.unanswered(id, failed.err)
	}
	return nil, nil
}

// keep keeps what has become of a question. Those that are kept are dropped when they are too many.
func keep[V any](h *HTTP, in map[[sha256.Size]byte]V, key [sha256.Size]byte, value V) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(in) >= maxKnown {
		clear(in)
	}
	in[key] = value
}

// unanswered judges a caller of whom no daemon has said anything: by his certificate.
func (h *HTTP) unanswered(id Identity, err error) (*grant.Caller, error) {
	if c := h.access.byCertificate(id); c != nil {
		return c, nil
	}
	return nil, httpapi.Errorf(http.StatusUnauthorized, "AUTH_FAILED: %v", err) // which never holds the secret
}

// withAnonymous returns the caller with what the token file lets everybody do now, which is not kept: it may be withdrawn sooner than c expires.
func (h *HTTP) withAnonymous(c *grant.Caller) *grant.Caller {
	table := h.access.Tokens.Table()
	if table == nil || len(table.Anonymous().Grants) == 0 {
		return c
	}
	return &grant.Caller{Kind: c.Kind, Name: c.Name, Grants: slices.Concat(c.Grants, table.Anonymous().Grants), Expires: c.Expires}
}
