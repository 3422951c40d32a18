package exposition

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// leaving is a scraper that goes away.
type leaving struct{ *httptest.ResponseRecorder }

func (leaving) Write([]byte) (int, error) { return 0, errors.New("stream closed") }

// TestAScraperThatLeavesIsNoError: what a daemon has done wrong is one, and stays one.
func TestAScraperThatLeavesIsNoError(t *testing.T) {
	family := &Family{Name: "answers_total", Help: "of all", Kind: Counter}
	twice := false
	set := NewSet([]*Family{family}, func(s *Scrape) {
		s.Value(family, 1)
		if twice {
			s.Value(family, 2)
		}
	})
	var log bytes.Buffer
	handler := set.Handler(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ask := func(w http.ResponseWriter) string {
		log.Reset()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return log.String()
	}
	if got := ask(leaving{httptest.NewRecorder()}); !strings.Contains(got, "level=DEBUG") || strings.Contains(got, "level=ERROR") {
		t.Errorf("who leaves: %s", got)
	}
	whole := httptest.NewRecorder()
	if got := ask(whole); got != "" || !strings.Contains(whole.Body.String(), "answers_total 1\n") {
		t.Errorf("who stays: %s\n%s", got, whole.Body)
	}
	twice = true
	if got := ask(httptest.NewRecorder()); !strings.Contains(got, "level=ERROR") {
		t.Errorf("a family that cannot be shown: %s", got)
	}
}
