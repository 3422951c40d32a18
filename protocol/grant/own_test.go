package grant

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestOwnTokenFollowsItsFile: what is put there later is shown; what is no token, or open to everybody, or gone, changes nothing and is told
// once, without the token.
func TestOwnTokenFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own")
	first, second := newToken("first"), newToken("second")
	write := func(text string, mode os.FileMode, hour int) {
		t.Helper()
		at := time.Now().Add(time.Duration(hour) * time.Hour) // the file system's clock may be coarse
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		write(first+"\n", 0o600, 0)
		o, err := OpenOwn(path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want string, lines int) {
			t.Helper()
			for range 3 {
				time.Sleep(watchEvery)
				if got := o.Token(); got != want {
					t.Errorf("shown: %.12s, want %.12s", got, want)
				}
			}
			if n := strings.Count(log.String(), "\n"); n != lines {
				t.Errorf("%d lines in the log, want %d:\n%s", n, lines, &log)
			}
		}
		expect(first, 0)
		write(second, 0o600, 1)
		expect(second, 1)
		write("nonsense", 0o600, 2)
		expect(second, 2)
		write(first, 0o604, 3)
		expect(second, 3)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect(second, 4)
		write(first, 0o600, 4)
		expect(first, 5)
		if strings.Contains(log.String(), first[8:]) || strings.Contains(log.String(), "nonsense") {
			t.Errorf("the log shows a token: %s", &log)
		}
	})
	if none, err := OpenOwn("", nil); none.Token() != "" || err != nil {
		t.Errorf("without a file: %q %v", none.Token(), err)
	}
	if _, err := OpenOwn("/nowhere", nil); err == nil {
		t.Error("a file that is not there was taken")
	}
}

// TestNobodyWaitsForWhoReadsTheOwnToken: a disk that does not answer holds up the one that looks, and others show the token from before.
func TestNobodyWaitsForWhoReadsTheOwnToken(t *testing.T) {
	path, token := filepath.Join(t.TempDir(), "own"), newToken("own")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := OpenOwn(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	o.look.Lock() // as who reads does
	defer o.look.Unlock()
	if got := o.Token(); got != token {
		t.Errorf("shown meanwhile: %.12s", got)
	}
}
