package access

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestFloodOfWrongPasswords: of many strangers at once a few wait and the others are sent away at once, told when to come again; who signed in
// before from his address does not wait for them.
func TestFloodOfWrongPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		friend := netip.MustParseAddr("10.9.9.9")
		turns.know(friend)
		var all sync.WaitGroup
		var mu sync.Mutex
		hashed, sent, longest := 0, 0, time.Duration(0)
		try := func(peer netip.Addr) {
			began := time.Now()
			end, err := turns.begin(t.Context(), peer)
			mu.Lock()
			defer mu.Unlock()
			var many *TooMany
			if errors.As(err, &many) {
				sent++
				return
			}
			hashed++
			longest = max(longest, time.Since(began))
			mu.Unlock()
			time.Sleep(250 * time.Millisecond) // a hash
			mu.Lock()
			end()
		}
		for i := range 200 {
			all.Go(func() { try(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)})) })
		}
		synctest.Wait()
		began := time.Now()
		end, err := turns.begin(t.Context(), friend)
		if err != nil || time.Since(began) > 0 {
			t.Errorf("who is known waited for %v: %v", time.Since(began), err)
		}
		end()
		all.Wait()
		if hashed != maxWaiting || sent != 200-maxWaiting || longest > time.Second {
			t.Errorf("%d hashed, %d sent away, the longest wait %v", hashed, sent, longest)
		}
		if _, err := turns.begin(t.Context(), netip.MustParseAddr("11.1.1.1")); err != nil {
			t.Error("after the flood:", err)
		}
	})
}

// TestWaitingForAHashEnds with the request, and its place is free again.
func TestWaitingForAHashEnds(t *testing.T) {
	turns := newTurns()
	peer := netip.MustParseAddr("10.0.0.1")
	end, err := turns.begin(t.Context(), peer)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 * maxWaiting {
		if _, err := turns.begin(gone, peer); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	end()
	for i := range 2 * maxKnown {
		turns.know(netip.AddrFrom4([4]byte{12, byte(i >> 16), byte(i >> 8), byte(i)}))
		if i > maxKnown+3 {
			break
		}
	}
	if len(turns.since) > maxKnown {
		t.Errorf("%d addresses are remembered", len(turns.since))
	}
}

// TestUsersFileThatEverybodyCanWriteIsRefused, and one that everybody can read warned of.
func TestUsersFileThatEverybodyCanWriteIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := setUser(path, "alice", "alicealice", "operator", 4); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o666: "can be written by everybody", 0o602: "can be written by everybody", 0o644: "", 0o640: "", 0o600: ""} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		_, err := New(Config{UsersFile: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", mode, err)
		}
		if warned := strings.Contains(log.String(), "can be read by everybody"); warned != (mode == 0o644) {
			t.Errorf("%v: warned %v", mode, warned)
		}
	}
}

// TestGuessesAtANameDoNotKeepItsOwnerOut: from hundreds of addresses, once the owner has signed in from his.
func TestGuessesAtANameDoNotKeepItsOwnerOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := setUser(path, "alice", "alicealice", "operator", 4); err != nil {
		t.Fatal(err)
	}
	g, err := New(Config{UsersFile: path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	from := func(addr, password string) error {
		r := request("GET")
		r.RemoteAddr = addr + ":1"
		_, err := g.check(g.now.Load(), r, "alice", password)
		return err
	}
	if err := from("10.0.0.1", "alicealice"); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		_ = from(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}).String(), "guess")
	}
	if err := from("10.0.0.1", "alicealice"); err != nil {
		t.Errorf("the owner: %v", err)
	}
	var many *TooMany
	err = nil
	for range 100 { // a turn more is allowed as time passes, and a busy machine takes its time over the guesses
		if err = from("11.9.9.9", "guess"); errors.As(err, &many) {
			return
		}
	}
	t.Errorf("a hundred guesses more: %v", err)
}
