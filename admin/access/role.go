package access

import (
	"fmt"
	"strings"

	"brokerd/protocol/grant"
)

// Role is what somebody may do, in one word.
type Role int

// The roles; each may what the one before may.
const (
	None Role = iota
	Viewer
	Operator
)

// String returns none, viewer or operator.
func (r Role) String() string { return [...]string{"none", "viewer", "operator"}[r] }

// roleOf returns the most that somebody may on any topic.
func roleOf(g grant.Grants) Role {
	switch {
	case g.Anywhere(grant.Manage):
		return Operator
	case g.Anywhere(grant.Read):
		return Viewer
	}
	return None
}

// Roles of which the whole cluster is the range.
const (
	viewerText   = "viewer"
	readerText   = "reader"
	operatorText = "operator"
)

var (
	everything = mustGrants("admin")
	seeing     = mustGrants("read")
	reading    = mustGrants("read,consume")
)

func mustGrants(texts ...string) grant.Grants {
	g, err := grant.ParseGrants(texts)
	if err != nil {
		panic(err)
	}
	return g
}

// ParseRoles reads ROLE[=PATTERN][,ROLE[=PATTERN]...], as viewer,operator=orders.*: a role is viewer, reader or operator, on topics whose whole
// names fit the pattern, on all without one. A reader is a viewer who sees the bodies of messages, too. An operator of some topics may see, fill, empty, pause, make and delete these; what belongs to no
// topic, such as settings, is for operators of all.
func ParseRoles(text string) (grant.Grants, error) {
	var all grant.Grants
	for one := range strings.SplitSeq(text, ",") {
		role, pattern, limited := strings.Cut(one, "=")
		if role != viewerText && role != readerText && role != operatorText {
			return nil, fmt.Errorf("%q is neither viewer, reader nor operator, nor one of these with =PATTERN, as operator=orders.*", one)
		}
		switch {
		case limited:
			scopes := map[string]string{viewerText: "read", readerText: "read,consume", operatorText: "read,publish,consume,manage"}[role]
			g, err := grant.ParseGrant(scopes + ":" + pattern)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", one, err)
			}
			all = append(all, g)
		case role == operatorText:
			all = append(all, everything...)
		case role == readerText:
			all = append(all, reading...)
		default:
			all = append(all, seeing...)
		}
	}
	return all, nil
}

// ParseUserRole reads NAME:ROLES, as alice:operator=orders.*. The name may have colons.
func ParseUserRole(text string) (name string, g grant.Grants, err error) {
	at := strings.LastIndexByte(text, ':')
	if at <= 0 {
		return "", nil, fmt.Errorf("must be NAME:ROLE=PATTERN, as alice:operator=orders.*, not %q", text)
	}
	g, err = ParseRoles(text[at+1:])
	return text[:at], g, err
}
