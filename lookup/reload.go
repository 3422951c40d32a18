package lookup

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/loglevel"
)

// settings are a lookup's settings as they are in force.
type settings struct {
	level   *slog.LevelVar // nil when it cannot change
	reload  func() error   // set before Start; nil when settings cannot be read anew
	exposed func() []string

	mu      sync.Mutex // guards what follows
	opts    Options
	origins httpapi.Origins
	later   map[string]any // by key: what needs a restart
}

var (
	errNoReload = errors.New("this lookup was not started from settings that can be read anew")
	errStopping = httpapi.NotNow("the lookup is stopping")
)

// Configured tells the lookup, before it starts, what its log level is changed by, where its settings came from, and how they are read
// anew; reload may be nil.
func (s *Server) Configured(level *slog.LevelVar, from httpapi.Origins, reload func() error) {
	s.settings.level, s.settings.origins, s.settings.reload = level, from, reload
}

func (o *Options) options() []httpapi.Option {
	var list []httpapi.Option
	for _, s := range o.Settings() {
		list = append(list, httpapi.Option{Key: s.Key, Flag: s.Name, Value: s.Value, Reload: s.Reload})
	}
	return list
}

// Reload puts the options in force that can change while the lookup runs: the log level, and who is let in. All are taken, or none when the
// error is not nil.
func (s *Server) Reload(fresh Options, from httpapi.Origins) error {
	if err := fresh.Validate(); err != nil {
		return err
	}
	level, err := loglevel.Parse(fresh.LogLevel)
	if err != nil {
		return err
	}
	tokens, err := grant.OpenIf(fresh.TokenFile)
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	networks, err := fresh.networks()
	if err != nil {
		return err
	}
	certs, err := newTLSConfigs(&fresh, s.log)
	if err != nil {
		return err
	}
	if (certs.server == nil) != (s.certs.Load().server == nil) {
		return errors.New("turning TLS on or off, by --tls-cert and --tls-key, needs a restart")
	}
	acts, err := httpapi.OpenAudit(fresh.AuditLog) // last, since it makes the file
	if err != nil {
		return err
	}
	set := &s.settings
	set.mu.Lock()
	defer set.mu.Unlock()
	select {
	case <-s.stop:
		if acts != nil {
			_ = acts.Close() // nothing was written to it
		}
		return errStopping
	default:
	}
	set.later = map[string]any{}
	for _, one := range httpapi.Merge(set.opts.options(), fresh.options()) {
		set.later[one.Key], _ = httpapi.ConfigValue(one.Value)
	}
	set.origins = from
	if set.level != nil {
		set.level.Set(level.Level())
	}
	s.certs.Store(certs)
	s.required.Store(set.opts.TLSRequired)
	s.tokens.Put(tokens)
	s.gate.SetNetworks(networks)
	s.audit.Use(acts)
	s.setHandler(&set.opts)
	select {
	case s.recheck <- struct{}{}:
	default: // it is still to be done
	}
	return nil
}

// setHandler makes the API for the options that are in force.
func (s *Server) setHandler(o *Options) {
	handler := http.Handler(s.newHandler(o))
	if o.TLSRequired {
		handler = plainRefused(handler, port(s.httpsListener))
	}
	s.handler.Store(&handler)
	s.http.SetKeepAlivesEnabled(!o.TLSRequired) // who comes back over a connection in clear would show his token, and be refused then
}

// insecure reports whether profiles and options are open to other machines.
func (set *settings) insecure() bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	return set.opts.Insecure
}

// List returns every setting for GET /config.
func (set *settings) List() httpapi.Settings {
	set.mu.Lock()
	defer set.mu.Unlock()
	options := set.opts.options()
	return set.origins.List(options, func(key string) any {
		for _, o := range options {
			if o.Key == key {
				value, _ := httpapi.ConfigValue(o.Value)
				return value
			}
		}
		return nil
	}, set.later)
}

// Reload is an empty PUT /config.
func (set *settings) Reload() error {
	if set.reload == nil {
		return errNoReload
	}
	return set.reload()
}
