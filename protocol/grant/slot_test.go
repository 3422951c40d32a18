package grant

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestATokenFileThatIsEmptiedIsAWarning: it counts, since somebody may mean it, but a tool may have cut it short.
func TestATokenFileThatIsEmptiedIsAWarning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	token, err := Add(path, "app", Grants{{scopes: Read, patterns: []string{"*"}}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		ctx, end := context.WithCancel(t.Context())
		s, done := NewSlot(f), make(chan struct{})
		go func() { defer close(done); s.Watch(ctx, slog.New(slog.NewTextHandler(&log, nil))) }()
		if err := os.Truncate(path, 0); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * watchEvery)
		end()
		<-done
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, &log)
		}
		if _, err := s.Table().ByToken(token, time.Now()); err == nil {
			t.Error("the token still counts")
		}
	})
}
