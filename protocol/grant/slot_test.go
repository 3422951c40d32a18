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

// TestATokenFileThatNamesNobodyIsAWarningFromTheStartOn: a file that was made and never filled refuses everybody, and so does one that a reload names.
func TestATokenFileThatNamesNobodyIsAWarningFromTheStartOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, end := context.WithCancel(t.Context())
		s, done := NewSlot(nil), make(chan struct{})
		go func() { defer close(done); s.Watch(ctx, slog.New(slog.NewTextHandler(&log, nil))) }()
		for i, want := range []int{1, 1, 2} {
			if i != 1 {
				f, err := Open(path)
				if err != nil {
					t.Fatal(err)
				}
				s.Put(f)
			}
			time.Sleep(2 * watchEvery)
			synctest.Wait()
			if n := strings.Count(log.String(), "names nobody"); n != want {
				t.Errorf("step %d: %d warnings:\n%s", i, n, &log)
			}
		}
		end()
		<-done
	})
}
