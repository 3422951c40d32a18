package broker

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestConnectionsLeaveDescriptors: of all there are an eighth stays for files, 256 at least but no more than a quarter, and an eighth of the rest for the
// other kind; one that leaves makes room.
func TestConnectionsLeaveDescriptors(t *testing.T) {
	for _, c := range []struct{ limit, first, other int }{
		{256, 168, 24}, {1024, 672, 96}, {4096, 3136, 448}, {1 << 20, 802_816, 114_688},
	} {
		d := &descriptors{limit: int64(c.limit)}
		unbounded := func() (all, perAddress int) { return 0, 0 }
		first, other := newGate(unbounded, d), newGate(unbounded, d)
		fill := func(g *gate) (n int) {
			for g.enter("") == nil {
				n++
			}
			return n
		}
		if a, b := fill(first), fill(other); a != c.first || b != c.other {
			t.Errorf("limit %d: %d and %d, want %d and %d", c.limit, a, b, c.first, c.other)
		}
		first.leave("")
		if n := fill(other); n != 1 {
			t.Errorf("limit %d: %d more once one has left", c.limit, n)
		}
		var out *outOfDescriptors
		if err := first.enter(""); !errors.As(err, &out) {
			t.Errorf("limit %d: %v", c.limit, err)
		}
	}
	d := &descriptors{}
	g := newGate(func() (all, perAddress int) { return 0, 0 }, d)
	for range 10_000 {
		if err := g.enter(""); err != nil {
			t.Fatalf("where no limit is known: %v", err)
		}
	}
}

// TestTheToldHaveDescriptors: refused connections that are told so count with the others, and are closed at once when they would need what is kept.
func TestTheToldHaveDescriptors(t *testing.T) {
	d := &descriptors{limit: 16} // 12 for connections, 11 for each kind
	s := &Server{log: slog.New(slog.DiscardHandler)}
	g := newGate(func() (all, perAddress int) { return 9, 0 }, d)
	for range 9 {
		if err := g.enter(""); err != nil {
			t.Fatal(err)
		}
	}
	var peers []net.Conn
	for range 4 {
		conn, peer := net.Pipe()
		s.turnAway(g, conn, g.enter(""), []byte("no"), true)
		peers = append(peers, peer)
	}
	if used := d.used.Load(); used != 11 {
		t.Errorf("%d descriptors are used with 2 told", used)
	}
	answers := 0
	for _, peer := range peers {
		if n, _ := peer.Read(make([]byte, 2)); n == 2 {
			answers++
		}
	}
	s.wg.Wait()
	if used := d.used.Load(); answers != 2 || used != 9 {
		t.Errorf("%d are told, %d descriptors are used once they have left", answers, used)
	}
}

// TestALimitThatCannotBeHadIsToldAtTheStart, and none that can, nor where nothing is known.
func TestALimitThatCannotBeHadIsToldAtTheStart(t *testing.T) {
	for _, c := range []struct {
		descriptors int64
		connections int
		told        bool
	}{{256, 168, false}, {256, 169, true}, {256, 0, false}, {0, 1 << 30, false}} {
		var log strings.Builder
		d := &descriptors{limit: c.descriptors}
		d.check(c.connections, slog.New(slog.NewTextHandler(&log, nil)))
		if told := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "clients_at_most=168"); told != c.told {
			t.Errorf("%+v: %s", c, log.String())
		}
	}
}

// closing is a connection that says when it is closed.
type closing struct {
	net.Conn
	closed func()
}

func (c closing) Close() error {
	c.closed()
	return nil
}

// TestADescriptorIsGivenBackOnceItIsFree, and once only.
func TestADescriptorIsGivenBackOnceItIsFree(t *testing.T) {
	d := &descriptors{limit: 16}
	g := newGate(func() (all, perAddress int) { return 0, 0 }, d)
	if err := g.enter(""); err != nil {
		t.Fatal(err)
	}
	var used []int64 // while it is closed, and behind that
	look := func() { used = append(used, d.used.Load()) }
	conn := &gatedConn{Conn: closing{closed: look}, leave: sync.OnceFunc(func() { g.leave("") })}
	for range 2 {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		look()
	}
	if !slices.Equal(used, []int64{1, 0, 0, 0}) {
		t.Errorf("descriptors in use: %d", used)
	}
}

// TestAStartWarnsOfTooFewDescriptors: of more connections than the process may have descriptors for.
func TestAStartWarnsOfTooFewDescriptors(t *testing.T) {
	if descriptorLimit() == 0 {
		return // it cannot be known
	}
	for _, most := range []int{1, math.MaxInt32} {
		var said bytes.Buffer
		o := DefaultOptions()
		o.MaxConnections = most
		s, err := New(o, slog.New(slog.NewTextHandler(&said, nil)), new(slog.LevelVar))
		if err != nil {
			t.Fatal(err)
		}
		s.compose()
		if warned := strings.Contains(said.String(), "--max-connections is more than the file descriptors"); warned != (most > 1) {
			t.Errorf("--max-connections=%d: %q", most, said.String())
		}
	}
}
