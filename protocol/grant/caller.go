package grant

import "time"

// Kind is how a caller is known.
type Kind string

// The kinds of callers.
const (
	Anonymous   Kind = "anonymous"
	Token       Kind = "token"
	Certificate Kind = "certificate"
	User        Kind = "user"
	Identity    Kind = "identity" // by the word of an auth daemon
)

// Caller is somebody who asks for something. It does not change.
type Caller struct {
	Kind    Kind
	Name    string    // the token's id, the name in the certificate, the user; empty for nobody in particular
	Grants  Grants    // with those of anonymous
	Expires time.Time // zero: never

	digest digest   // of a token
	names  []string // in a certificate
}

// String says who it is, for logs: "token orders-app". It never holds a secret.
func (c *Caller) String() string {
	if c.Name == "" {
		return string(c.Kind)
	}
	return string(c.Kind) + " " + c.Name
}

// May reports whether the caller has one of the scopes on a topic.
func (c *Caller) May(s Scope, topic string) bool { return c.Grants.On(s, topic) }

// Expired reports whether the caller's grants have run out.
func (c *Caller) Expired(now time.Time) bool { return !c.Expires.IsZero() && !now.Before(c.Expires) }
