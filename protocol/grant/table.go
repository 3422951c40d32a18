package grant

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Refusals of a token. Neither says more, so that nobody learns which ids there are.
var (
	ErrUnknown = errors.New("the token is not known")
	ErrExpired = errors.New("the token has expired")
)

// Table is the content of a token file. It does not change.
type Table struct {
	tokens    map[string]*Caller // by id
	certs     []certRule
	anonymous *Caller
}

type certRule struct {
	pattern string
	grants  Grants
}

const maxLines = 100_000

// Parse reads the text of a token file. The error names the line.
func Parse(text []byte) (*Table, error) {
	t := &Table{tokens: map[string]*Caller{}}
	number := 0
	for line := range bytes.Lines(text) {
		if number++; number > maxLines {
			return nil, fmt.Errorf("more than %d lines", maxLines)
		}
		fields := strings.Fields(string(line))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := t.add(fields); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if t.anonymous == nil {
		t.anonymous = &Caller{Kind: Anonymous}
	}
	for _, c := range t.tokens {
		c.Grants = append(c.Grants, t.anonymous.Grants...)
	}
	return t, nil
}

func (t *Table) add(fields []string) error {
	switch fields[0] {
	case "token":
		c, err := parseToken(fields[1:])
		if err != nil {
			return err
		}
		if t.tokens[c.Name] != nil {
			return fmt.Errorf("token %s was there before", c.Name)
		}
		t.tokens[c.Name] = c
		return nil
	case "cert":
		if len(fields) < 3 {
			return errors.New("a line for a certificate is: cert PATTERN, then a GRANT or more")
		}
		grants, err := ParseGrants(fields[2:])
		if err == nil {
			err = checkPattern(fields[1])
		}
		t.certs = append(t.certs, certRule{fields[1], grants})
		return err
	case "anonymous":
		if t.anonymous != nil {
			return errors.New("anonymous was there before")
		}
		grants, err := ParseGrants(fields[1:])
		t.anonymous = &Caller{Kind: Anonymous, Grants: grants}
		return err
	}
	return fmt.Errorf("%q begins no line; there are token, cert and anonymous", fields[0])
}

// parseToken reads the fields behind the word token.
func parseToken(fields []string) (*Caller, error) {
	if len(fields) < 2 {
		return nil, errors.New("a line for a token is: token ID sha256=HEX, then a GRANT or more")
	}
	c := &Caller{Kind: Token, Name: fields[0]}
	if err := CheckID(c.Name); err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(fields[1], "sha256=")
	raw, err := hex.DecodeString(text)
	if !ok || err != nil || len(raw) != len(c.digest) {
		return nil, fmt.Errorf("token %s: the second field must be sha256= and 64 hex digits", c.Name)
	}
	copy(c.digest[:], raw)
	fields = fields[2:]
	if len(fields) > 0 {
		if text, ok := strings.CutPrefix(fields[0], "expires="); ok {
			if c.Expires, err = time.Parse(time.RFC3339, text); err != nil {
				return nil, fmt.Errorf("token %s: expires must be as 2027-01-31T12:00:00Z, not %q", c.Name, text)
			}
			fields = fields[1:]
		}
	}
	c.Grants, err = ParseGrants(fields)
	return c, err
}

// Anonymous returns the caller that has neither a token nor a certificate; it may have no grant at all.
func (t *Table) Anonymous() *Caller { return t.anonymous }

// empty reports whether nobody may do anything.
func (t *Table) empty() bool { return len(t.tokens)+len(t.certs)+len(t.anonymous.Grants) == 0 }

// ByToken returns the caller of a token. Errors are ErrNoToken, ErrUnknown and ErrExpired.
func (t *Table) ByToken(text string, now time.Time) (*Caller, error) {
	id, err := splitToken(text)
	if err != nil {
		return nil, err
	}
	return t.known(id, digestOf(text), now)
}

func (t *Table) known(id string, d digest, now time.Time) (*Caller, error) {
	var kept digest // compared with when there is none of that id, so that this takes as long
	c := t.tokens[id]
	if c != nil {
		kept = c.digest
	}
	switch {
	case subtle.ConstantTimeCompare(kept[:], d[:]) != 1 || c == nil:
		return nil, ErrUnknown
	case c.Expired(now):
		return nil, ErrExpired
	}
	return c, nil
}

// ByCertificate returns the caller of a verified certificate with the given names, the subject's first. ok is false when no line
// fits one of them.
func (t *Table) ByCertificate(names []string) (c *Caller, ok bool) {
	c = &Caller{Kind: Certificate, names: names}
	for _, rule := range t.certs {
		for _, name := range names {
			if name != "" && fits(rule.pattern, name) {
				if c.Name == "" {
					c.Name = name
				}
				c.Grants = append(c.Grants, rule.grants...)
				break
			}
		}
	}
	if c.Name == "" {
		return nil, false
	}
	c.Grants = append(c.Grants, t.anonymous.Grants...)
	return c, true
}

// Again returns the caller as this table has him, nil when it no longer knows him: a token that is gone, was made anew or has
// expired, a certificate that no line fits.
func (t *Table) Again(c *Caller, now time.Time) *Caller {
	switch c.Kind {
	case Anonymous:
		return t.anonymous
	case Token:
		again, err := t.known(c.Name, c.digest, now)
		if err != nil {
			return nil
		}
		return again
	case Certificate:
		again, _ := t.ByCertificate(c.names)
		return again
	}
	return nil
}
