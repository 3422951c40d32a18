package relay

import (
	"fmt"
	"regexp"
	"strings"

	"brokerd/protocol"
)

// naming says what a source topic is called at the destination.
type naming struct {
	all   string // the name of every topic, unless empty
	rules []rule // the first that matches counts
}

// rule is one --rename.
type rule struct {
	pattern     *regexp.Regexp
	replacement string
}

// parseRule reads REGEXP=REPLACEMENT, in which $1 and ${name} stand for what the expression's groups matched. The last
// equals sign divides, since a topic's name has none.
func parseRule(text string) (rule, error) {
	at := strings.LastIndexByte(text, '=')
	if at <= 0 {
		return rule{}, fmt.Errorf("--rename must be REGEXP=REPLACEMENT, not %q", text)
	}
	pattern, err := regexp.Compile(text[:at])
	if err != nil {
		return rule{}, fmt.Errorf("--rename %q: %w", text, err)
	}
	return rule{pattern, text[at+1:]}, nil
}

// destination returns the destination's name of a topic. The error is a name that no topic can have.
func (n *naming) destination(topic string) (string, error) {
	name := topic
	if n.all != "" {
		name = n.all
	}
	for _, r := range n.rules {
		if r.pattern.MatchString(topic) {
			name = r.pattern.ReplaceAllString(topic, r.replacement)
			break
		}
	}
	if !protocol.ValidName(name) {
		return "", fmt.Errorf("topic %s would be named %q, which is no valid name", topic, name)
	}
	return name, nil
}
