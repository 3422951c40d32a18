package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"brokerd/broker/registrar"
	"brokerd/broker/topic"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// reloadable are the settings, by their flags, that a reload changes while the broker runs. Limits that clients are told by IDENTIFY
// hold for connections that are made from then on; certificates, for handshakes.
var reloadable = []string{
	"tls-cert", "tls-key", "tls-root-ca-file", "tls-client-auth-policy", "tls-required", "tls-min-version",
	"auth-http-address", "auth-http-request-method", "auth-anchored", "auth-http-api",
	"token-file", "lookupd-token-file", "audit-log", "quota-publishes", "quota-bytes", "quota-commands",
	"http-allow-host", "http-allow-origin", "insecure",
	"msg-timeout", "max-msg-timeout", "max-msg-size", "max-req-timeout", "max-defer", "max-body-size", "max-rdy-count", "max-heartbeat-interval",
	"max-channel-consumers", "max-topics", "max-channels", "max-connections", "max-connections-per-address",
	"output-buffer-timeout", "min-output-buffer-timeout", "max-output-buffer-timeout", "max-output-buffer-size",
	"deflate", "max-deflate-level", "snappy",
	"durability", "topic-durability", "topic-options", "channel-options", "lookupd-tcp-address", "log-level", "drain-timeout",
}

// now returns the options that are in force. Nobody changes what it points to.
func (s *Server) now() *Options { return s.inForce.Load() }

// Configured tells the broker, before it starts, where its settings came from, and how they are read anew; reload may be nil.
func (s *Server) Configured(from httpapi.Origins, reload func() error) {
	s.origins, s.reload = from, reload
}

// Refusals of a reload.
var (
	ErrRestart  = errors.New("needs a restart") // it asks for what only a restart can do
	errUnderWay = httpapi.NotNow("settings are being read anew already")
	errChanged  = httpapi.NotNow("a setting was changed through /config while settings were read anew: read them anew once more if it is not to hold")
	errStopping = httpapi.NotNow("the broker is stopping")
)

// Reload puts the options in force that can change while the broker runs, and remembers what the others are to be after a restart. All
// are taken, or none when the error is not nil. What was set through /config/KEY before holds no longer; what is set meanwhile holds, and has the reload
// refused. So has one that is under way, for which nobody waits: it may hang with the disk of its files.
func (s *Server) Reload(fresh Options, from httpapi.Origins) error {
	return s.ReloadSince(s.Changes(), fresh, from)
}

// Changes returns how often a setting was changed through /config/KEY.
func (s *Server) Changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// ReloadSince is Reload with options that were read when Changes said that.
func (s *Server) ReloadSince(changes uint64, fresh Options, from httpapi.Origins) error {
	if !s.reloading.TryLock() {
		return errUnderWay
	}
	defer s.reloading.Unlock()
	p, err := s.readAnew(&fresh)
	p.changes = changes
	if err := s.take(p, err, from); err != nil {
		return err
	}
	s.registry.SetPatterns(p.options.patterns()) // with nothing locked that others wait for: who publishes may hold a topic for as long as a disk hangs
	return nil
}

// take puts in force what readAnew has read, unless that failed, and counts the reload.
func (s *Server) take(p prepared, err error, from httpapi.Origins) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
	case s.stopping:
		err = errStopping
	case s.changes != p.changes:
		err = errChanged
	}
	s.countReloadLocked(err == nil)
	if err != nil {
		p.discard()
		return err
	}
	s.apply(p)
	s.inForce.Store(p.options)
	s.origins, s.later = from, p.later
	if len(p.later) > 0 {
		s.log.Warn("settings that only a restart changes", "settings", slices.Sorted(maps.Keys(p.later)))
	}
	return nil
}

// ReloadRefused counts a reload whose settings could not even be read.
func (s *Server) ReloadRefused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countReloadLocked(false)
}

func (s *Server) countReloadLocked(good bool) {
	if s.reloads.LastGood = good; good {
		s.reloads.Good++
	} else {
		s.reloads.Bad++
	}
}

// readAnew judges options, and reads the files that they name: nothing that others wait for is held meanwhile.
func (s *Server) readAnew(fresh *Options) (p prepared, err error) {
	if err := fresh.Validate(); err != nil {
		return p, err
	}
	p = s.merge(fresh)
	if err := p.options.Validate(); err != nil {
		return p, err
	}
	err = s.prepare(&p)
	return p, err
}

// merge returns the options in force with what a reload changes of fresh, and by their keys what fresh says otherwise of the rest.
func (s *Server) merge(fresh *Options) prepared {
	s.mu.Lock()
	defer s.mu.Unlock()
	merged := *s.now()
	later := map[string]any{}
	for _, one := range httpapi.Merge(merged.options(), fresh.options()) {
		later[one.Key] = configValue(one.Value)
	}
	return prepared{options: &merged, later: later}
}

func (o *Options) options() []httpapi.Option {
	var list []httpapi.Option
	for _, s := range o.Settings() {
		list = append(list, httpapi.Option{Key: s.Key, Flag: s.Name, Value: s.Value, Reload: s.Reload})
	}
	return list
}

// prepare does all that can fail of a reload.
func (s *Server) prepare(p *prepared) error {
	o := p.options
	level, err := parseLogLevel(o.LogLevel)
	if err != nil {
		return err
	}
	p.level = level.Level()
	p.certs, err = newTLSConfigs(o, s.log)
	switch {
	case err != nil:
		return err
	case (p.certs.server == nil) != (s.tlsNow().server == nil):
		return fmt.Errorf("turning TLS on or off: --tls-cert and --tls-key: %w", ErrRestart)
	case s.engine == nil && o.wantsLog():
		return fmt.Errorf("keeping topics in a log where there is none yet: --durability and --topic-durability: %w", ErrRestart)
	case o.wantsLog() && s.engine.Unsyncable() != nil: // only a start at level memory gets as far as here
		return fmt.Errorf("keeping topics in a log: --topic-durability and --topic-options: %w", s.engine.Unsyncable())
	case unfinishedLimit(o) > unfinishedLimit(&s.opts):
		return fmt.Errorf("--max-body-size and --max-msg-size over half of --max-unfinished-bytes: %w", ErrRestart)
	case o.MaxMsgSize > s.largestMessage():
		return fmt.Errorf("--max-msg-size over %d: %w", s.largestMessage(), ErrRestart)
	}
	if p.tokens, err = grant.OpenIf(o.TokenFile); err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	if p.own, err = grant.OpenOwn(o.LookupdTokenFile, s.log); err != nil {
		return fmt.Errorf("--lookupd-token-file: %w", err)
	}
	if len(o.AuthHTTPAddresses) > 0 {
		if p.asks, err = newAuthClient(o, s.log); err != nil {
			return err
		}
	}
	if err := registrar.CheckAddresses(o.LookupdTCPAddresses); err != nil {
		return fmt.Errorf("--lookupd-tcp-address: %w", err)
	}
	p.acts, err = httpapi.OpenAudit(o.AuditLog) // last, since it makes the file
	return err
}

// sessionsMustGo reports whether clients that are connected may do more than they could if they connected now: nobody was asked who he is.
func (s *Server) sessionsMustGo(p prepared) bool {
	return s.tokens.File() == nil && s.authNow.Load() == nil && (p.tokens != nil || p.asks != nil)
}

// settingsOf lists every setting with its value, for GET /config.
func (s *Server) settingsOf() httpapi.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.now()
	return s.origins.List(o.options(), func(key string) any {
		value, _ := o.Config(key)
		return value
	}, s.later)
}

// set changes one setting that is in force, for PUT /config/KEY. s.mu is held.
func (s *Server) set(flag, key string, change func(*Options)) {
	next := *s.now()
	change(&next)
	s.inForce.Store(&next)
	s.changes++
	s.origins.Changed(flag, key)
}

// largestMessage is the longest message that queues on disk were opened for, in bytes.
func (s *Server) largestMessage() int64 { return max(s.opts.MaxMsgSize, overflowMessage) }

// overflowMessage is up to which size any queue on disk takes messages, so that --max-msg-size can change while it is open.
const overflowMessage = 64 << 20

// watched is a configuration that serves what tlsNow says at each handshake.
func (s *Server) watched() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS10, // the real one decides
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.tlsNow().server, nil },
	}
}

// reloadNow is an empty PUT /config.
func (s *Server) reloadNow() error {
	if s.reload == nil {
		return errNoReload
	}
	return s.reload()
}

var errNoReload = errors.New("this broker was not started from settings that can be read anew")

// levelFor returns the level of a topic that is made now: that of the first pattern that fits, of --topic-durability and then of
// --topic-options, else the node's.
func (o *Options) levelFor(name string) topic.Level {
	for _, rule := range o.TopicDurability {
		pattern, level, _ := strings.Cut(rule, "=")
		if fits(pattern, name) {
			if l, err := topic.ParseLevel(level); err == nil {
				return l
			}
		}
	}
	for _, p := range o.patterns().Topics {
		if value, ok := p.Value("durability"); ok && p.Fits(name) {
			if l, err := topic.ParseLevel(value.(string)); err == nil {
				return l
			}
		}
	}
	return topic.Level(o.Durability)
}
