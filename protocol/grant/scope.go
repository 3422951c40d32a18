package grant

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Scope is one or several things that a caller may do.
type Scope uint8

// The scopes. Admin stands for all of them.
const (
	Read Scope = 1 << iota
	Publish
	Consume
	Manage
	Admin

	none Scope = 0
)

var words = []struct {
	scope Scope
	word  string
}{{Read, "read"}, {Publish, "publish"}, {Consume, "consume"}, {Manage, "manage"}, {Admin, "admin"}}

// String returns the words of s, with commas between.
func (s Scope) String() string {
	var list []string
	for _, w := range words {
		if s&w.scope != 0 {
			list = append(list, w.word)
		}
	}
	return strings.Join(list, ",")
}

func parseScopes(text string) (Scope, error) {
	all := none
next:
	for word := range strings.SplitSeq(text, ",") {
		for _, w := range words {
			if w.word == word {
				all |= w.scope
				continue next
			}
		}
		return none, fmt.Errorf("%q is no scope; there are read, publish, consume, manage and admin", word)
	}
	return all, nil
}

// Grant is scopes on topics. It is made by ParseGrant.
type Grant struct {
	scopes   Scope
	patterns []string       // of path.Match, none empty
	expr     *regexp.Regexp // in the place of patterns, by Matching
}

// Matching returns scopes on the topics that an expression matches, as auth daemons of NSQ give them.
func Matching(s Scope, expr *regexp.Regexp) Grant {
	switch expr.String() {
	case "", ".*", "^.*$", `\A(?:.*)\z`:
		return Grant{scopes: s, patterns: []string{everything}}
	}
	return Grant{scopes: s, expr: expr}
}

// everything is the pattern that all topics fit.
const everything = "*"

// ParseGrant reads SCOPE[,SCOPE...][:PATTERN[,PATTERN...]].
func ParseGrant(text string) (Grant, error) {
	scopes, patterns, given := strings.Cut(text, ":")
	if !given {
		patterns = everything
	}
	s, err := parseScopes(scopes)
	if err != nil {
		return Grant{}, fmt.Errorf("grant %q: %w", text, err)
	}
	g := Grant{scopes: s}
	for p := range strings.SplitSeq(patterns, ",") {
		if err := checkPattern(p); err != nil {
			return Grant{}, fmt.Errorf("grant %q: %w", text, err)
		}
		g.patterns = append(g.patterns, p)
	}
	return g, nil
}

func checkPattern(p string) error {
	if p == "" {
		return errors.New("an empty pattern fits no name; * fits all")
	}
	if _, err := path.Match(p, ""); err != nil {
		return fmt.Errorf("pattern %q: %w; there are *, ? and [a-z]", p, err)
	}
	return nil
}

// String returns the form that ParseGrant reads, but for one by Matching.
func (g Grant) String() string {
	if g.expr != nil {
		return g.scopes.String() + ":/" + g.expr.String() + "/"
	}
	return g.scopes.String() + ":" + strings.Join(g.patterns, ",")
}

// has reports whether the grant holds one of the scopes at all.
func (g Grant) has(s Scope) bool { return g.scopes&(s|Admin) != 0 }

func (g Grant) allows(s Scope, topic string) bool {
	if !g.has(s) {
		return false
	}
	for _, p := range g.patterns {
		if fits(p, topic) {
			return true
		}
	}
	return g.expr != nil && g.expr.MatchString(topic)
}

// fits reports whether the name fits the pattern, which ParseGrant has checked.
func fits(pattern, name string) bool {
	if pattern == everything {
		return true
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// Grants is everything that a caller may.
type Grants []Grant

// ParseGrants reads grants with spaces between.
func ParseGrants(fields []string) (Grants, error) {
	list := make(Grants, 0, len(fields))
	for _, f := range fields {
		g, err := ParseGrant(f)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// String returns the grants with spaces between.
func (all Grants) String() string {
	texts := make([]string, len(all))
	for i, g := range all {
		texts[i] = g.String()
	}
	return strings.Join(texts, " ")
}

// On reports whether one of the scopes is granted on a topic.
func (all Grants) On(s Scope, topic string) bool {
	for _, g := range all {
		if g.allows(s, topic) {
			return true
		}
	}
	return false
}

// Anywhere reports whether one of the scopes is granted on some topic or other.
func (all Grants) Anywhere(s Scope) bool {
	for _, g := range all {
		if g.has(s) {
			return true
		}
	}
	return false
}

// Patterns returns the patterns of the topics that one of the scopes is granted on, for people and pages to read.
func (all Grants) Patterns(s Scope) []string {
	list := []string{}
	for _, g := range all {
		for _, p := range g.patterns {
			if g.has(s) && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}

// Everywhere reports whether one of the scopes is granted on all topics.
func (all Grants) Everywhere(s Scope) bool {
	for _, g := range all {
		if !g.has(s) {
			continue
		}
		for _, p := range g.patterns {
			if p == everything {
				return true
			}
		}
	}
	return false
}
