package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"brokerd/admin/cluster"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/loglevel"
)

// settings answers /config from the options, and from what was changed since.
type settings struct {
	cluster *cluster.Cluster
	level   *slog.LevelVar
	open    *atomic.Pointer[[]string] // what is open to more people than one might think

	reload func() error // set before Start; nil when settings cannot be read anew

	mu      sync.Mutex // guards what follows
	opts    Options
	origins httpapi.Origins
	later   map[string]any // by key: what needs a restart
	changes uint64         // how often a setting was changed through /config/KEY
}

// Config returns an option by its key, as nsqadmin shows it: texts as they are, durations in nanoseconds, the log level as a
// number. A password in a URL is not shown.
func (s *settings) Config(key string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.valueLocked(key)
}

func (s *settings) valueLocked(key string) (any, bool) {
	switch key {
	case "exposed": // no option: what the options leave open
		return append([]string{}, *s.open.Load()...), true
	case "log_level":
		return loglevel.Number(s.opts.LogLevel), true
	case "nsqlookupd_http_addresses":
		return append([]string{}, s.cluster.Lookups()...), true
	case "graphite_url", "notification_http_endpoint":
		return s.withoutPassword(key), true
	}
	for _, setting := range s.opts.Settings() {
		if setting.Key == key {
			return httpapi.ConfigValue(setting.Value)
		}
	}
	return nil, false
}

func (s *settings) withoutPassword(key string) string {
	text := s.opts.GraphiteURL
	if key == "notification_http_endpoint" {
		text = s.opts.NotificationEndpoint
	}
	u, err := url.Parse(text)
	if err != nil { // Validate has seen to it
		return ""
	}
	return u.Redacted()
}

// SetLogLevel changes the level from now on; it fails for a word that names none.
func (s *settings) SetLogLevel(word string) error {
	level, err := loglevel.Parse(word)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level.Set(level)
	s.opts.LogLevel = word
	s.changedLocked("log-level", "log_level")
	return nil
}

// SetLookups has other lookups asked from now on; it fails where brokers are asked, and for addresses that are none.
func (s *settings) SetLookups(addresses []string) error {
	if !s.cluster.ByLookups() || len(addresses) == 0 {
		return errors.New("there are brokers, or would be no lookup")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.cluster.SetLookups(addresses); err != nil {
		return err
	}
	s.opts.LookupdHTTPAddresses = slices.Clone(addresses)
	s.changedLocked("lookupd-http-address", "nsqlookupd_http_addresses")
	return nil
}

// changedLocked notes that a setting was changed through /config/KEY.
func (s *settings) changedLocked(flag, key string) {
	s.changes++
	s.origins.Changed(flag, key)
}

// Changes returns how often a setting was changed through /config/KEY.
func (s *Server) Changes() uint64 {
	s.settings.mu.Lock()
	defer s.settings.mu.Unlock()
	return s.settings.changes
}

// List returns every setting for GET /config.
func (s *settings) List() httpapi.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origins.List(s.opts.options(), func(key string) any {
		value, _ := s.valueLocked(key)
		return value
	}, s.later)
}

var (
	errNoReload = errors.New("this admind was not started from settings that can be read anew")
	errStopping = httpapi.NotNow("the admind is stopping")
	errChanged  = httpapi.NotNow("a setting was changed through /config while settings were read anew: read them anew once more if it is not to hold")
)

// Reload is an empty PUT /config.
func (s *settings) Reload() error {
	if s.reload == nil {
		return errNoReload
	}
	return s.reload()
}

func (o *Options) options() []httpapi.Option {
	var list []httpapi.Option
	for _, s := range o.Settings() {
		list = append(list, httpapi.Option{Key: s.Key, Flag: s.Name, Value: s.Value, Reload: s.Reload})
	}
	return list
}

// Configured tells the admind, before it starts, where its settings came from, and how they are read anew; reload may be nil.
func (s *Server) Configured(from httpapi.Origins, reload func() error) {
	s.settings.origins, s.settings.reload = from, reload
}

// Reload puts the options in force that can change while the admind runs: certificates, lookups, the log level, and who may do what. All are
// taken, or none when the error is not nil. What is set through /config/KEY meanwhile holds, and has the reload refused.
func (s *Server) Reload(fresh Options, from httpapi.Origins) error {
	return s.ReloadSince(s.Changes(), fresh, from)
}

// ReloadSince is Reload with options that were read when Changes said that.
func (s *Server) ReloadSince(changes uint64, fresh Options, from httpapi.Origins) error {
	r, err := s.prepare(&fresh)
	if err != nil {
		return err
	}
	if err := s.take(&r, &fresh, from, changes); err != nil {
		return errors.Join(err, r.discard())
	}
	if err := s.trail.Use(r.acts); err != nil { // with nothing locked: it waits for a disk
		s.log.Error("closing the audit log of before", "error", err)
	}
	return nil
}

// take puts a prepared reload in force, but for the audit log.
func (s *Server) take(r *renewal, fresh *Options, from httpapi.Origins, changes uint64) error {
	set := s.settings
	set.mu.Lock()
	defer set.mu.Unlock()
	select {
	case <-s.streams:
		return errStopping
	default:
	}
	if set.changes != changes {
		return errChanged
	}
	if s.cluster.ByLookups() {
		if err := s.cluster.SetLookups(fresh.LookupdHTTPAddresses); err != nil {
			return fmt.Errorf("--lookupd-http-address: %w", err)
		}
	}
	set.later = map[string]any{}
	for _, one := range httpapi.Merge(set.opts.options(), fresh.options()) {
		value, _ := httpapi.ConfigValue(one.Value)
		set.later[one.Key] = value
	}
	set.origins = from
	set.level.Set(r.level)
	s.replace(r.shows)
	s.tokens.Put(r.tokens)
	r.judge()
	return s.setHandler(&set.opts, s.HTTPAddr()) // its options were found right, and its files read before
}

// renewal is what a reload has read and found right, before anything changes.
type renewal struct {
	level  slog.Level
	shows  *secrets
	tokens *grant.File
	judge  func()
	acts   *os.File // of the audit log; nil for none
}

// discard closes what is not put in force.
func (r *renewal) discard() error {
	if r.acts == nil {
		return nil
	}
	return r.acts.Close()
}

func (s *Server) prepare(fresh *Options) (r renewal, err error) {
	if err := fresh.Validate(); err != nil {
		return r, err
	}
	level, err := loglevel.Parse(fresh.LogLevel)
	if err != nil {
		return r, err
	}
	r.level = level.Level()
	if r.shows, err = fresh.loadSecrets(s.log); err != nil {
		return r, err
	}
	if (r.shows.listener != nil) != s.secure() {
		return r, errors.New("turning HTTPS on or off, by --tls-cert and --tls-key, needs a restart")
	}
	if r.tokens, err = grant.OpenIf(fresh.TokenFile); err != nil {
		return r, fmt.Errorf("--token-file: %w", err)
	}
	who, err := fresh.accessConfig(r.tokens, s.log)
	if err != nil {
		return r, err
	}
	if r.judge, err = s.guard.Prepare(who); err != nil {
		return r, err
	}
	r.acts, err = httpapi.OpenAudit(fresh.AuditLog) // last, since it makes the file
	return r, err
}
