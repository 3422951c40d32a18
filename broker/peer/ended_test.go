package peer

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// texts keeps what is logged.
type texts struct {
	mu   sync.Mutex
	text string
}

func (l *texts) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(p)
	return len(p), nil
}

// TestAnEndedLinkIsToldOf: a link that the other node ends is told of, with a number that Link had for it and no other has again; one that this node ends is not.
// Whether somebody listens can be asked without a complaint there.
func TestAnEndedLinkIsToldOf(t *testing.T) {
	var mu sync.Mutex
	ended := map[int][]string{}
	var said texts
	var nodes [2]*Node
	folders := [2]string{"a", "b"}
	for i := range nodes {
		n, err := New(Options{Self: hello(folders[i]), Judge: anybody, Received: new(inbox).take, Redial: 5 * time.Millisecond, Handshake: patience,
			Log: slog.New(slog.NewTextHandler(&said, nil)), Ended: func(folder string, lane Lane) {
				mu.Lock()
				defer mu.Unlock()
				ended[i] = append(ended[i], folder+" "+lane.String())
			}})
		fatal(t, err)
		t.Cleanup(n.Close)
		nodes[i] = n
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	address := l.Addr().String()
	fatal(t, nodes[1].Serve(l))
	nodes[0].Dial(address)
	eventually(t, "they are linked", func() bool { return len(nodes[0].Peers()) == 1 && len(nodes[1].Peers()) == 1 })
	first := nodes[0].Link(folders[1], Control)
	if first == 0 || nodes[0].Link("somebody else", Control) != 0 {
		t.Errorf("link %d", first)
	}
	nodes[1].Cut(folders[0])
	eventually(t, "the other is told of it, by each lane", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(ended[0]) >= int(Ask)
	})
	eventually(t, "there is another link", func() bool { n := nodes[0].Link(folders[1], Control); return n != 0 && n != first })
	mu.Lock()
	if len(ended[1]) > 0 {
		t.Errorf("who has ended them was told of %q", ended[1])
	}
	mu.Unlock()
	for range 3 {
		if nodes[0].Refuses(t.Context(), address, patience) {
			t.Error("a node that listens is said to refuse")
		}
	}
	nodes[1].Close()
	if !nodes[0].Refuses(t.Context(), address, patience) {
		t.Error("a node that does not listen is not said to refuse")
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	if strings.Contains(said.text, "error=EOF") {
		t.Errorf("that somebody has looked was complained of:\n%s", said.text)
	}
}
