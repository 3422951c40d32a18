package httpapi

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/protocol/grant"
)

// Rule says who may use a route. It is made by Public, Needs, NeedsSome and NeedsOnTopic; its zero value lets nobody in.
type Rule struct {
	public bool
	scope  grant.Scope
	topic  func(req *http.Request, ps httprouter.Params) (name string, named bool, err error) // nil: no topic
	some   bool                                                                               // the scope on any topic will do
	local  bool                                                                               // see Local
	hidden bool                                                                               // see Hidden
}

// Public is for everybody, with a token file or without.
func Public() Rule { return Rule{public: true} }

// Needs demands one of the scopes on all topics.
func Needs(s grant.Scope) Rule { return Rule{scope: s} }

// NeedsSome demands one of the scopes on some topic: the handler answers with what the caller may see, by MaySee.
func NeedsSome(s grant.Scope) Rule { return Rule{scope: s, some: true} }

// NeedsOnTopic demands one of the scopes on the topic that the argument "topic" names. Where there is none one topic will do: it is
// for the handler to refuse such a request.
func NeedsOnTopic(s grant.Scope) Rule { return Rule{scope: s, topic: topicOfQuery} }

func topicOfQuery(req *http.Request, _ httprouter.Params) (name string, named bool, err error) {
	q, err := ParseQuery(req)
	if err != nil {
		return "", false, err
	}
	name, named = q.Lookup("topic")
	return name, named, nil
}

// Local has a daemon without a token file answer this machine only, unless --insecure opens it.
func (r Rule) Local() Rule {
	r.local = true
	return r
}

// Hidden has a route that only reads be refused to pages of other sites, as those that act are.
func (r Rule) Hidden() Rule {
	r.hidden = true
	return r
}

// NeedsOnPath demands one of the scopes on the topic that the path's parameter "topic" names; a ~ before it, for names that browsers would take
// for steps, is none of the name.
func NeedsOnPath(s grant.Scope) Rule { return Rule{scope: s, topic: topicOfPath} }

func topicOfPath(_ *http.Request, ps httprouter.Params) (name string, named bool, err error) {
	return strings.TrimPrefix(ps.ByName("topic"), "~"), true, nil
}

// Check returns why a caller with these grants may not use a route with this rule, nil when he may.
func (r Rule) Check(grants grant.Grants, req *http.Request, ps httprouter.Params) error {
	if r.public {
		return nil
	}
	return r.check(&grant.Caller{Kind: grant.User, Grants: grants}, req, ps)
}

// Public reports whether everybody may use a route with this rule.
func (r Rule) Public() bool { return r.public }

// Scope returns the scopes of which one is demanded, 0 for a public route.
func (r Rule) Scope() grant.Scope { return r.scope }

// Changes reports whether a route with this rule and method changes what a daemon has or does, beyond its messages.
func (r Rule) Changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && r.scope&(grant.Manage|grant.Admin) != 0
}

// Guard says who a request is from.
type Guard interface {
	// Caller returns who it is. An error is an answer with status 401.
	Caller(req *http.Request) (*grant.Caller, error)
}

// Tokens is a Guard by a token file: a token as Bearer, a verified certificate, or nobody in particular.
type Tokens struct{ File *grant.File }

const bearer = "Bearer "

// Caller looks for a token first.
func (g Tokens) Caller(req *http.Request) (*grant.Caller, error) {
	table := g.File.Table()
	if text := req.Header.Get("Authorization"); text != "" {
		token, ok := cutPrefixFold(text, bearer)
		if !ok {
			return nil, Errorf(http.StatusUnauthorized, "TOKEN_REQUIRED: only Authorization: Bearer TOKEN is understood")
		}
		c, err := table.ByToken(strings.TrimSpace(token), time.Now())
		if err != nil {
			return nil, Errorf(http.StatusUnauthorized, "TOKEN_REFUSED: %v", err)
		}
		return c, nil
	}
	if names := CertificateNames(req); names != nil {
		if c, ok := table.ByCertificate(names); ok {
			return c, nil
		}
	}
	return table.Anonymous(), nil
}

func cutPrefixFold(text, prefix string) (rest string, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// CertificateNames returns the names in the verified certificate of a request, the subject's first; nil without one.
func CertificateNames(req *http.Request) []string {
	if req.TLS == nil || len(req.TLS.VerifiedChains) == 0 {
		return nil
	}
	return NamesOf(req.TLS.VerifiedChains[0][0])
}

// NamesOf returns the subject's common name and the DNS names of a certificate.
func NamesOf(cert *x509.Certificate) []string {
	return append([]string{cert.Subject.CommonName}, cert.DNSNames...)
}

type callerKey struct{}

// CallerOf returns who a request is from, nil when the daemon has no Guard: then everybody may everything.
func CallerOf(req *http.Request) *grant.Caller {
	c, _ := req.Context().Value(callerKey{}).(*grant.Caller)
	return c
}

// MaySee reports whether a request's caller has one of the scopes on a topic.
func MaySee(req *http.Request, s grant.Scope, topic string) bool {
	c := CallerOf(req)
	return c == nil || c.May(s, topic)
}

// admit returns the request as the handler is to see it, with its caller where there is a Guard, and why it is not let in.
func (d *Door) admit(req *http.Request, ps httprouter.Params, rule Rule) (*http.Request, error) {
	switch {
	case rule.public:
		return req, nil
	case d.Guard == nil:
		if rule.local && !d.Insecure && !FromThisMachine(req) {
			return req, Errorf(http.StatusForbidden, "LOCAL_ONLY: without --token-file only this machine may do this; --insecure opens it to all")
		}
		return req, nil
	}
	c, err := d.Guard.Caller(req)
	if err != nil {
		return req, err
	}
	req = req.WithContext(context.WithValue(req.Context(), callerKey{}, c))
	return req, rule.check(c, req, ps)
}

// check refuses a caller who has not what the rule demands.
func (r Rule) check(c *grant.Caller, req *http.Request, ps httprouter.Params) error {
	allowed, on := false, ""
	switch {
	case r.scope == 0:
	case r.some:
		allowed = c.Grants.Anywhere(r.scope)
	case r.topic != nil:
		name, named, err := r.topic(req, ps)
		if err != nil {
			return err
		}
		if !named {
			allowed = c.Grants.Anywhere(r.scope)
			break
		}
		allowed, on = c.May(r.scope, name), fmt.Sprintf(" on topic %.100q", name)
	default:
		allowed, on = c.Grants.Everywhere(r.scope), " on all topics"
	}
	if allowed {
		return nil
	}
	return Refusal(c, r.scope, on)
}

// Refusal is the answer to a caller who has not one of the scopes: 401 to who has not said who he is, else 403.
func Refusal(c *grant.Caller, s grant.Scope, on string) error {
	scopes := strings.ReplaceAll(s.String(), ",", " or ")
	if c.Kind == grant.Anonymous {
		return Errorf(http.StatusUnauthorized, "TOKEN_REQUIRED: this needs scope %s%s; send Authorization: Bearer TOKEN", scopes, on)
	}
	return Errorf(http.StatusForbidden, "FORBIDDEN: %s has not scope %s%s", c, scopes, on)
}

// FromThisMachine reports whether a request came over the loopback or a unix socket, and not through a proxy that says so.
func FromThisMachine(req *http.Request) bool {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if req.Header.Get(header) != "" {
			return false
		}
	}
	if local, ok := req.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return true
	}
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// Reachable reports whether other machines can connect to an address that is listened on.
func Reachable(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}

// asks adds what a 401 must carry.
func asks(w http.ResponseWriter, err error) {
	var e *Error
	if errors.As(err, &e) && e.Code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="brokerd"`)
	}
}
