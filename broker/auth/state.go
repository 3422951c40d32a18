package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"brokerd/protocol/grant"
)

// maxTTL bounds how long an answer holds, so that its end is a time that exists.
const maxTTL = 100 * 365 * 24 * time.Hour

// The permissions.
const (
	subscribe = "subscribe"
	publish   = "publish"
)

// State is what a client may do, by what an auth daemon said or the token file says. It does not change, and is safe for concurrent use.
type State struct {
	Identity       string
	IdentityURL    string
	Authorizations []Authorization // of an auth daemon
	Caller         *grant.Caller   // of the token file; nil when an auth daemon has judged
	expires        time.Time       // zero: never
}

// ofCaller returns what the token file lets a caller do.
func ofCaller(c *grant.Caller) *State { return &State{Identity: c.Name, Caller: c, expires: c.Expires} }

// Known reports whether the client has said who it is.
func (s *State) Known() bool { return s.Caller == nil || s.Caller.Kind != grant.Anonymous }

// Permissions returns how many grants there are.
func (s *State) Permissions() int {
	if s.Caller != nil {
		return len(s.Caller.Grants)
	}
	return len(s.Authorizations)
}

// Authorization is one grant: for the topics and channels that its patterns match.
type Authorization struct {
	topic              *regexp.Regexp
	channels           []*regexp.Regexp
	subscribe, publish bool
	more               grant.Scope // brokerd's own words: read, manage and admin, for HTTP
	everyChannel       bool        // one of the patterns is .*
}

// Expired reports whether the answer no longer holds.
func (s *State) Expired(now time.Time) bool { return !s.expires.IsZero() && s.expires.Before(now) }

// Lapses reports whether the answer holds for a time only: of one that does not nobody need look at the clock.
func (s *State) Lapses() bool { return !s.expires.IsZero() }

// Expires returns until when the answer holds, the zero time for good.
func (s *State) Expires() time.Time { return s.expires }

// Allowed reports whether the topic may be published to, when channel is empty, or the channel be subscribed to.
func (s *State) Allowed(topic, channel string) bool {
	if s.Caller != nil {
		scope := grant.Publish
		if channel != "" {
			scope = grant.Consume
		}
		return s.Caller.May(scope, topic)
	}
	return slices.ContainsFunc(s.Authorizations, func(a Authorization) bool { return a.allows(topic, channel) })
}

func (a Authorization) allows(topic, channel string) bool {
	granted := a.publish
	if channel != "" {
		granted = a.subscribe
	}
	return granted && a.topic.MatchString(topic) &&
		slices.ContainsFunc(a.channels, func(pattern *regexp.Regexp) bool { return pattern.MatchString(channel) })
}

// grants returns what an auth daemon's word lets somebody do over HTTP. Who may subscribe sees the topic's figures; bodies only where every
// channel is granted, since a rule over HTTP is for a topic.
func (s *State) grants() (list grant.Grants) {
	for _, a := range s.Authorizations {
		scopes := a.more
		if a.publish && slices.ContainsFunc(a.channels, func(p *regexp.Regexp) bool { return p.MatchString("") }) {
			scopes |= grant.Publish
		}
		if a.subscribe {
			scopes |= grant.Read
		}
		if a.subscribe && a.everyChannel {
			scopes |= grant.Consume
		}
		if scopes != 0 {
			list = append(list, grant.Matching(scopes, a.topic))
		}
	}
	return list
}

// answer is the JSON of an auth daemon.
type answer struct {
	TTL            int    `json:"ttl"` // seconds
	Identity       string `json:"identity"`
	IdentityURL    string `json:"identity_url"`
	Authorizations []struct {
		Topic       string   `json:"topic"`
		Channels    []string `json:"channels"`
		Permissions []string `json:"permissions"`
	} `json:"authorizations"`
}

// parseAnswer checks an answer that came at now and compiles its patterns.
func parseAnswer(body []byte, now time.Time, anchored bool) (*State, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("failed to decode the answer: %w", err)
	}
	if a.TTL <= 0 {
		return nil, fmt.Errorf("invalid TTL %d (must be >0)", a.TTL)
	}
	ttl := maxTTL
	if int64(a.TTL) < int64(maxTTL/time.Second) {
		ttl = time.Duration(a.TTL) * time.Second
	}
	s := &State{Identity: a.Identity, IdentityURL: a.IdentityURL, expires: now.Add(ttl)}
	for _, entry := range a.Authorizations {
		compiled, err := compile(entry.Topic, entry.Channels, entry.Permissions, anchored)
		if err != nil {
			return nil, err
		}
		s.Authorizations = append(s.Authorizations, compiled)
	}
	return s, nil
}

func compile(topic string, channels, permissions []string, anchored bool) (a Authorization, err error) {
	for _, p := range permissions {
		switch p {
		case subscribe:
			a.subscribe = true
		case publish:
			a.publish = true
		case "read":
			a.more |= grant.Read
		case "manage":
			a.more |= grant.Manage
		case "admin":
			a.more |= grant.Admin
		default:
			return a, fmt.Errorf("unknown permission %q", p)
		}
	}
	if a.topic, err = pattern(topic, anchored); err != nil {
		err = fmt.Errorf("unable to compile topic %q: %w", topic, err)
	}
	for _, c := range channels {
		p, e := pattern(c, anchored)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("unable to compile channel %q: %w", c, e))
		}
		a.channels = append(a.channels, p)
		a.everyChannel = a.everyChannel || c == ".*" || c == "^.*$"
	}
	return a, err
}

// pattern compiles one that matches anywhere in a name, as in nsqd, or whole names only.
func pattern(text string, anchored bool) (*regexp.Regexp, error) {
	p, err := regexp.Compile(text)
	if err != nil || !anchored {
		return p, err
	}
	return regexp.Compile(`\A(?:` + text + `)\z`)
}
