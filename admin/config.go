package admin

import (
	"log/slog"
	"net/url"
	"sync"

	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/loglevel"
)

// settings answers /config from the options, and from what was changed since.
type settings struct {
	cluster *cluster.Cluster
	level   *slog.LevelVar

	mu   sync.Mutex
	opts Options // guarded by mu; its log level changes
}

// Config returns an option by its key, as nsqadmin shows it: texts as they are, durations in nanoseconds, the log level as a
// number. A password in a URL is not shown.
func (s *settings) Config(key string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch key {
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
	s.level.Set(level)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.LogLevel = word
	return nil
}
