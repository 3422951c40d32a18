package broker

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/simnet"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/grant"
	"brokerd/protocol/prototest"
)

// virtual starts a broker in a bubble of virtual time, and returns it with what connects a client to it. It ends with the test.
func virtual(t *testing.T, change func(*Options)) (s *Server, dial func() *prototest.Client) {
	t.Helper()
	const host = "127.0.0.1"
	network, disk := simnet.New(1), vfs.NewMem()
	o := DefaultOptions()
	o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress, o.DataPath = host+":4150", "", "", host, t.TempDir()
	o.ShutdownTimeout, o.LogFileSize = time.Second, 64<<10
	change(&o)
	if err := disk.MkdirAll(o.DataPath); err != nil {
		t.Fatal(err)
	}
	s, err := New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err == nil {
		s.around = world{listen: network.Listen, dial: network.DialFrom(host), files: vfs.NewFaulty(disk)}
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, func() *prototest.Client {
		t.Helper()
		conn, err := network.Dial(t.Context(), simOutside, o.TCPAddress)
		if err != nil {
			t.Fatal(err)
		}
		c := prototest.NewClient(t, conn)
		c.Send(prototest.Magic)
		return c
	}
}

// TestQuotaOverTCP: a producer over its quota is read later and loses nothing, is kept informed by heartbeats for longer than it may be
// silent, and does not hold up another address's consumer, whose answers are taken.
func TestQuotaOverTCP(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	token := func(id, may string) string {
		grants, err := grant.ParseGrants([]string{may})
		if err != nil {
			t.Fatal(err)
		}
		token, err := grant.Add(path, id, grants, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	producer, consumer := token("producer", "publish"), token("consumer", "consume")
	synctest.Test(t, func(t *testing.T) {
		_, dial := virtual(t, func(o *Options) { o.TokenFile, o.QuotaPublishes, o.QuotaBytes = path, 20, 1<<20 })
		signIn := func(c *prototest.Client, id, token string) {
			c.Send("AUTH\n" + prototest.Body(token))
			c.Expect(fmt.Sprintf(`{"identity":%q,"identity_url":"","permission_count":1}`, id))
		}
		c, p := dial(), dial()
		signIn(c, "consumer", consumer)
		c.Send("SUB t c\nRDY 10\n")
		c.Expect("OK")
		p.Send("IDENTIFY\n" + prototest.Body(`{"heartbeat_interval":1000}`))
		p.Expect("OK")
		signIn(p, "producer", producer)
		const messages = 120 // five seconds' worth beyond the first
		began := time.Now()
		p.Send(strings.Repeat(prototest.Pub("t", "x"), messages/2))
		p.Send(strings.Repeat(prototest.Pub("t", "x"), messages/2) + "NOP\n")
		heartbeats, answers := 0, 0
		for answers <= messages {
			frame, err := p.ReadAny()
			if err != nil {
				t.Fatalf("after %d answers: %v", answers, err)
			}
			switch string(frame.Payload) {
			case "OK":
				if answers++; answers == messages {
					p.Send(prototest.Pub("t", "last"))
				}
			case "_heartbeat_":
				heartbeats++
				p.Send("NOP\n")
			default:
				t.Fatal(frame)
			}
		}
		if took := time.Since(began); heartbeats < 4 || took < 5*time.Second || took > 10*time.Second {
			t.Errorf("%d heartbeats in %v", heartbeats, took)
		}
		for i := range messages + 1 {
			m := c.Next()
			if m.Type != prototest.Message || m.Message().Attempts != 1 {
				t.Fatalf("message %d: %v", i, m)
			}
			c.Send("FIN " + m.Message().ID + "\n")
		}
	})
}

// TestClientTimeout: the one interval that is not a flag. A silent consumer hears heartbeats and is closed, one that answers stays.
func TestClientTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, dial := virtual(t, func(o *Options) { o.ClientTimeout = time.Second })
		silent, alive := dial(), dial()
		for _, c := range []*prototest.Client{silent, alive} {
			c.Send("SUB t c\nRDY 1\n")
			c.Expect("OK")
		}
		began := time.Now()
		closed := make(chan time.Duration, 1)
		go func() {
			for {
				if _, err := silent.ReadAny(); err != nil {
					closed <- time.Since(began)
					return
				}
			}
		}()
		for range 10 {
			f, err := alive.ReadAny()
			if err != nil || string(f.Payload) != "_heartbeat_" {
				t.Fatalf("got %v, %v, want a heartbeat", f, err)
			}
			alive.Send("NOP\n")
		}
		if took := <-closed; took < 900*time.Millisecond || took > 1100*time.Millisecond {
			t.Errorf("the silent one was closed after %v", took)
		}
	})
}

// TestMessageTimeoutOption: --msg-timeout holds for who asks for nothing else, and TOUCH begins it anew.
func TestMessageTimeoutOption(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, func(o *Options) { o.MsgTimeout = 150 * time.Millisecond })
		c, p := dial(), dial()
		c.Send("SUB t c\nRDY 1\n")
		c.Expect("OK")
		began := time.Now()
		p.Send(prototest.Pub("t", "x"))
		p.Expect("OK")
		id := c.ExpectMessage("x", 1).ID
		c.ExpectMessage("x", 2)
		if took := time.Since(began); took < 150*time.Millisecond || took > 200*time.Millisecond {
			t.Errorf("it came again after %v", took)
		}
		for range 3 {
			time.Sleep(100 * time.Millisecond)
			c.Send("TOUCH " + id + "\n")
		}
		c.Send("FIN " + id + "\n")
		time.Sleep(time.Second)
		if s := s.registry.Lookup("t").LookupChannel("c").Stats(); s.InFlight != 0 || s.Depth != 0 || s.TimeoutCount != 1 || s.RequeueCount != 0 {
			t.Errorf("%+v", s)
		}
	})
}
