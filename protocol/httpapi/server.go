package httpapi

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer returns a server, listening nowhere yet, whose clients cannot hold a connection for long without saying anything: 10 seconds
// for a head, 30 for a request, a minute for the answer, which a handler may extend, and 3 minutes between requests. What is wrong
// with a connection it logs as a warning.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       3 * time.Minute, // consumers ask lookups every minute
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
