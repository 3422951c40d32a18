package httpd

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"brokerd/lookup/registry"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// TestEveryRouteHasARule: with a token file all routes need a scope but the one that says whether the lookup is there.
func TestEveryRouteHasARule(t *testing.T) {
	guard := &prototest.Guard{}
	reg := registry.New(registry.Config{InactiveTimeout: time.Hour, TombstoneLifetime: time.Minute}, time.Now())
	prototest.CheckRules(t, guard, New(Config{Registry: reg, Version: "1.3.0", Metrics: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler), Door: httpapi.Door{Guard: guard}}), "GET /ping", "GET /ready")
}
