package lookup

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"brokerd/protocol/httpapi"
)

func TestTombstoneLapses(t *testing.T) {
	bubble(t, func(t *testing.T, s *Server) {
		p := s.pipe(t)
		p.identify(info("2001:db8::1"))
		p.say("REGISTER t")
		p.say("REGISTER t2")
		s.do(t, http.MethodPost, "/topic/tombstone?topic=t&node=[2001:db8::1]:4151", nil)
		var nodes httpapi.Nodes
		s.get(t, "/nodes", &nodes)
		if n := nodes.Producers[0]; !reflect.DeepEqual(n.Topics, []string{"t", "t2"}) || !reflect.DeepEqual(n.Tombstones, []bool{true, false}) {
			t.Errorf("node %+v", n)
		}
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{0, 0}, {44 * time.Second, 0}, {time.Second, 1}} {
			p.ping(step.after)
			if got, other := s.producers(t, "t"), s.producers(t, "t2"); got != step.want || other != 1 {
				t.Errorf("%v later: %d and %d producers", step.after, got, other)
			}
		}
		if s.get(t, "/nodes", &nodes); nodes.Producers[0].Tombstones[0] {
			t.Error("flag still set")
		}
	})
}

func TestTombstoneThenUnregister(t *testing.T) {
	bubble(t, func(t *testing.T, s *Server) {
		p := s.pipe(t)
		p.identify(info("a"))
		p.say("REGISTER t")
		s.do(t, http.MethodPost, "/topic/tombstone?topic=t&node=a:4151", nil)
		p.say("UNREGISTER t")
		p.ping(time.Minute)
		if got := s.producers(t, "t"); got != 0 {
			t.Errorf("%d producers", got)
		}
	})
}

func TestSilentBrokerIsHiddenUntilItPings(t *testing.T) {
	bubble(t, func(t *testing.T, s *Server) {
		p := s.pipe(t)
		p.identify(info("a"))
		p.say("REGISTER t")
		nodes := func() int {
			var got httpapi.Nodes
			s.get(t, "/nodes", &got)
			return len(got.Producers)
		}
		time.Sleep(300 * time.Second)
		if s.producers(t, "t") != 1 || nodes() != 1 {
			t.Error("hidden too early")
		}
		time.Sleep(time.Nanosecond)
		if s.producers(t, "t") != 0 || nodes() != 0 {
			t.Error("not hidden")
		}
		p.say("PING")
		if s.producers(t, "t") != 1 || nodes() != 1 {
			t.Error("still hidden")
		}
		time.Sleep(600*time.Second + 1)
		if _, err := p.in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("connection after twice the timeout: %v", err)
		}
	})
}

// An admin deletes a topic here, then at its brokers; what these say in between must not bring it back.
func TestTopicDeletedOnALiveClusterStaysAway(t *testing.T) {
	bubble(t, func(t *testing.T, s *Server) {
		a, b := s.pipe(t), s.pipe(t)
		for host, p := range map[string]*peer{"a": a, "b": b} {
			p.identify(info(host))
			p.say("REGISTER t c")
		}
		s.do(t, http.MethodPost, "/topic/delete?topic=t", nil)
		a.say("REGISTER t another") // a consumer came to a before a deleted the topic
		b.conn.Close()              // and b lost its connection
		b = s.pipe(t)
		b.identify(info("b"))
		b.say("REGISTER t c")
		for i := range 10 {
			if got := s.producers(t, "t"); got != -http.StatusNotFound {
				t.Errorf("step %d: %d", i, got)
			}
			var topics httpapi.Topics
			if s.get(t, "/topics", &topics); len(topics.Topics) != 0 {
				t.Errorf("step %d: %v", i, topics)
			}
			switch i {
			case 0:
				a.say("UNREGISTER t c")
				a.say("UNREGISTER t another")
			case 1:
				a.say("UNREGISTER t")
			case 2:
				b.say("UNREGISTER t c")
				b.say("UNREGISTER t")
			default:
				a.ping(15 * time.Second)
				b.say("PING")
			}
		}
		a.say("REGISTER t")
		if got := s.producers(t, "t"); got != 1 {
			t.Errorf("published to again: %d", got)
		}
	})
}
