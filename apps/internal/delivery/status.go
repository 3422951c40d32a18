package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"brokerd/apps/internal/targets"
)

// Reporter logs the targets' figures every so many messages. It is safe for concurrent use.
type Reporter struct {
	pool  *targets.Pool
	every uint64
	log   *slog.Logger
	count atomic.Uint64
}

// NewReporter returns a reporter; every 0 means never. Below 100 messages a warning is logged, since percentiles over so
// few say little.
func NewReporter(pool *targets.Pool, every int, log *slog.Logger) *Reporter {
	if every > 0 && every < 100 {
		log.Warn("percentiles over so few messages say little", "status-every", every)
	}
	return &Reporter{pool: pool, every: uint64(max(every, 0)), log: log}
}

// Count adds messages that were handed on, and logs when it is time: a line for each target if there are several, and one
// for all.
func (r *Reporter) Count(messages int) {
	if r.every == 0 {
		return
	}
	now := r.count.Add(uint64(messages))
	if now/r.every == (now-uint64(messages))/r.every {
		return
	}
	each, all := r.pool.States()
	if len(each) > 1 {
		for _, s := range each {
			r.line(s)
		}
	}
	r.line(all)
}

func (r *Reporter) line(s targets.State) {
	r.log.Info(fmt.Sprintf("[%s]: %d done", s.Address, s.Messages), "failed", s.Failures,
		"p99_ms", s.P99, "p95_ms", s.P95, "avg_ms", s.Avg)
}

// State is what a tool's HTTP address tells at /stats.
type State struct {
	Version   string          `json:"version"`
	StartTime int64           `json:"start_time"` // seconds since the Unix epoch
	InHand    int             `json:"in_hand"`    // messages that were given and are not answered
	Topics    []TopicState    `json:"topics"`
	Targets   []targets.State `json:"targets"`
	Aggregate targets.State   `json:"aggregate"`
}

// TopicState is one topic that is consumed.
type TopicState struct {
	Topic       string `json:"topic"`
	Channel     string `json:"channel"`
	Destination string `json:"destination_topic,omitempty"`
	Received    uint64 `json:"received"` // deliveries, repeated ones too
	Finished    uint64 `json:"finished"`
	Unwanted    uint64 `json:"unwanted"`         // those of finished that were left out as the flags ask
	Waived      uint64 `json:"waived,omitempty"` // those of finished that were refused and given up as the flags ask
	Requeued    uint64 `json:"requeued"`
	Connections int    `json:"connections"` // to brokers
}

// StateServer serves a tool's state over HTTP: /ping answers OK, /stats the JSON of state.
type StateServer struct {
	server http.Server
	served chan struct{}
}

// ServeState listens on the address and serves until Close.
func ServeState(address string, state func() State, log *slog.Logger) (*StateServer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--http-address: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if err := json.NewEncoder(w).Encode(state()); err != nil {
			log.Warn("telling the state failed", "error", err)
		}
	})
	s := &StateServer{served: make(chan struct{}), server: http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
	go func() {
		defer close(s.served)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("serving the state ended", "error", err)
		}
	}()
	log.Info("serving the state", "url", "http://"+listener.Addr().String()+"/stats")
	return s, nil
}

// Close ends serving and waits for it, requests in progress for a second at most.
func (s *StateServer) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close() // what is left are readers of /stats
	}
	<-s.served
}
