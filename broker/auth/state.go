package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// maxTTL bounds how long an answer holds, so that its end is a time that exists.
const maxTTL = 100 * 365 * 24 * time.Hour

// The permissions.
const (
	subscribe = "subscribe"
	publish   = "publish"
)

// State is what an auth daemon allowed an identity. It does not change, and is safe for concurrent use.
type State struct {
	Identity       string
	IdentityURL    string
	Authorizations []Authorization
	expires        time.Time
}

// Authorization is one grant: for the topics and channels that its patterns match.
type Authorization struct {
	topic              *regexp.Regexp
	channels           []*regexp.Regexp
	subscribe, publish bool
}

// Expired reports whether the answer no longer holds.
func (s *State) Expired(now time.Time) bool { return s.expires.Before(now) }

// Allowed reports whether the topic may be published to, when channel is empty, or the channel be subscribed to.
func (s *State) Allowed(topic, channel string) bool {
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
func parseAnswer(body []byte, now time.Time) (*State, error) {
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
		compiled, err := compile(entry.Topic, entry.Channels, entry.Permissions)
		if err != nil {
			return nil, err
		}
		s.Authorizations = append(s.Authorizations, compiled)
	}
	return s, nil
}

func compile(topic string, channels, permissions []string) (a Authorization, err error) {
	for _, p := range permissions {
		switch p {
		case subscribe:
			a.subscribe = true
		case publish:
			a.publish = true
		default:
			return a, fmt.Errorf("unknown permission %q", p)
		}
	}
	if a.topic, err = regexp.Compile(topic); err != nil {
		err = fmt.Errorf("unable to compile topic %q: %w", topic, err)
	}
	for _, c := range channels {
		pattern, e := regexp.Compile(c)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("unable to compile channel %q: %w", c, e))
		}
		a.channels = append(a.channels, pattern)
	}
	return a, err
}
