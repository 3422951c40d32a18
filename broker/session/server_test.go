package session

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// TestServeTellsWhyAClientWasRefused, whether or not the client could still be told.
func TestServeTellsWhyAClientWasRefused(t *testing.T) {
	for name, deaf := range map[string]bool{"told": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(w *world) {
				c := w.dial()
				c.Send("INVALID\n")
				if deaf {
					c.Conn.Close()
				} else {
					c.ExpectError("E_INVALID invalid command INVALID")
				}
				var refused *protocol.Error
				if err := <-w.ended; !errors.As(err, &refused) || refused.Code != protocol.CodeInvalid {
					t.Errorf("the session ended with %v", err)
				}
			})
		})
	}
}

// TestOrderlyEndIsNoError.
func TestOrderlyEndIsNoError(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		c := w.subscribed(`{}`, "1")
		c.Conn.Close()
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
	})
}

// TestCloseEndsAllSessions, those that said nothing yet included, and refuses what comes later.
func TestCloseEndsAllSessions(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		clients := []*prototest.Client{w.raw(), w.dial(), w.subscribed(`{}`, "5"), w.identify(`{"heartbeat_interval":-1}`)}
		synctest.Wait()
		if n := w.server.Len(); n != len(clients) {
			t.Errorf("%d sessions", n)
		}
		if err := w.server.Close(context.Background()); err != nil {
			t.Error(err)
		}
		for _, c := range clients {
			c.ExpectClosed()
			if err := <-w.ended; err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("a session ended with %v", err)
			}
		}
		ours, theirs := net.Pipe()
		if err := w.server.Serve(theirs); !errors.Is(err, ErrServerClosed) {
			t.Errorf("a late connection was served: %v", err)
		}
		ours.Close()
		w.at(0)
	})
}

// TestProducers: who has published is listed with its counts, consumers are not.
func TestProducers(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		w.subscribed(`{}`, "0")
		c := w.identify(`{"client_id":"p","user_agent":"prototest/1"}`)
		c.Send(prototest.Pub("t", "x") + prototest.Mpub("u", "a", "b") + "DPUB t 10\n" + prototest.Body("y"))
		for range 3 {
			c.Expect("OK")
		}
		list := w.server.Producers()
		if len(list) != 1 || list[0].ClientID != "p" || list[0].UserAgent != "prototest/1" || len(list[0].PubCounts) != 2 ||
			list[0].PubCounts[0].Count != 2 || list[0].PubCounts[1].Count != 2 {
			t.Errorf("%+v", list)
		}
	})
}

// TestConsumerThatPublishes: its counts stand in its channel's entry too.
func TestConsumerThatPublishes(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		c := w.subscribed(`{}`, "0")
		session := w.topic().LookupChannel("c").Subscriptions()[0].Owner().(*Session)
		if counts := session.Stats().PubCounts; counts != nil {
			t.Errorf("before it has published: %+v", counts)
		}
		c.Send(prototest.Pub("u", "x") + prototest.Mpub("t", "a", "b"))
		c.Expect("OK")
		c.Expect("OK")
		want := []httpapi.PubCount{{Topic: "t", Count: 2}, {Topic: "u", Count: 1}}
		if counts := session.Stats().PubCounts; !slices.Equal(counts, want) {
			t.Errorf("got %+v, want %+v", counts, want)
		}
	})
}

// TestConsumerLimit: one more than allowed is refused, until one leaves.
func TestConsumerLimit(t *testing.T) {
	inBubble(t, func(_ *Config, tc *topic.Config) { tc.MaxConsumers = 1 }, func(w *world) {
		first := w.subscribed(`{}`, "1")
		second := w.dial()
		second.Send("SUB t c\n")
		second.ExpectError("E_SUB_FAILED SUB failed consumers for t:c exceeds limit of 1")
		second.ExpectClosed()
		first.Conn.Close()
		synctest.Wait()
		w.subscribed(`{}`, "1")
	})
}

// TestEphemeralGoesWithItsLastClient: the channel first, then the topic that has no other.
func TestEphemeralGoesWithItsLastClient(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		one, two := w.dial(), w.dial()
		for _, c := range []*prototest.Client{one, two} {
			c.Send("SUB t#ephemeral c#ephemeral\n")
			c.Expect("OK")
		}
		one.Conn.Close()
		synctest.Wait()
		if topic := w.registry.Lookup("t#ephemeral"); topic == nil || topic.LookupChannel("c#ephemeral") == nil {
			t.Fatal("it is gone while a client is left")
		}
		two.Conn.Close()
		synctest.Wait()
		if w.registry.Lookup("t#ephemeral") != nil {
			t.Error("it is there without a client")
		}
	})
}

// TestZoneLocalConsumersComeFirst is NSQ's own test of topology-aware consumption: of 21 messages the two consumers of the
// broker's zone take all that they have credit for, and only then another one.
func TestZoneLocalConsumersComeFirst(t *testing.T) {
	inBubble(t, func(c *Config, tc *topic.Config) {
		c.TopologyRegion, c.TopologyZone, tc.TopologyAware = "region", "zone", true
	}, func(w *world) {
		var frames [4]<-chan heard
		for i, place := range []string{
			`{"topology_region":"region","topology_zone":"zone"}`, `{"topology_region":"region","topology_zone":"zone"}`,
			`{"topology_region":"region","topology_zone":"other"}`, `{"topology_region":"elsewhere","topology_zone":"other"}`,
		} {
			frames[i], _ = w.listen(w.subscribed(place, "10"))
		}
		for range 21 {
			w.publish("x")
			time.Sleep(5 * time.Millisecond)
		}
		synctest.Wait()
		if len(frames[0]) != 10 || len(frames[1]) != 10 || len(frames[2]) != 1 || len(frames[3]) != 0 {
			t.Errorf("got %d and %d in the zone, %d in the region, %d elsewhere", len(frames[0]), len(frames[1]), len(frames[2]), len(frames[3]))
		}
		if s := w.channel(); s.ZoneLocal != 20 || s.RegionLocal != 1 || s.Global != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestStatsOfAClient: what IDENTIFY and the traffic say shows in /stats.
func TestStatsOfAClient(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		c := w.dial()
		c.Negotiate(prototest.Transport{Snappy: true}, map[string]any{"user_agent": "ua/1", "sample_rate": 99, "topology_zone": "z"})
		c.Send("SUB t c\nRDY 5\n")
		c.Expect("OK")
		synctest.Wait()
		session := w.topic().LookupChannel("c").Subscriptions()[0].Owner().(*Session)
		s := session.Stats()
		if !s.Snappy || s.Deflate || s.TLS || s.UserAgent != "ua/1" || s.SampleRate != 99 || s.TopologyZone != "z" || s.State != 3 ||
			s.ReadyCount != 5 || s.Version != "V2" {
			t.Errorf("%+v", s)
		}
		c.Send("CLS\n")
		c.Expect("CLOSE_WAIT")
		if s := session.Stats(); s.State != 4 || s.ReadyCount != 0 {
			t.Errorf("%+v", s)
		}
	})
}
