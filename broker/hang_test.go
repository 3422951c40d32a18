package broker

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/simnet"
	"brokerd/broker/topic"
	"brokerd/cmd/cmdtest"
	"brokerd/diskqueue/stall"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/prototest"
)

// TestABrokerTellsThatItsDiskHangs: while the disk answers nothing, not even the engine's own looks, publishes wait, and from 5 s on /ping, /ready, /stats and
// /metrics say so at once, each time that they are asked. What is at level memory goes on, and all is well again as soon as the disk answers.
func TestABrokerTellsThatItsDiskHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const host = "127.0.0.1"
		network, mem := simnet.New(1), vfs.NewMem()
		o := DefaultOptions()
		o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress, o.DataPath = host+":4150", host+":4151", "", host, t.TempDir()
		o.ShutdownTimeout, o.LogFileSize, o.Durability, o.TopicDurability = time.Second, 64<<10, Durability(topic.Disk), []string{"memory.*=memory"}
		if err := mem.MkdirAll(o.DataPath); err != nil {
			t.Fatal(err)
		}
		disk := vfs.NewFaulty(mem)
		var frozen atomic.Pointer[chan struct{}]
		disk.Observe(func(vfs.Op, string) {
			if c := frozen.Load(); c != nil {
				<-*c
			}
		})
		var said cmdtest.Screen
		s, err := New(o, slog.New(slog.NewTextHandler(&said, nil)), new(slog.LevelVar))
		if err != nil {
			t.Fatal(err)
		}
		s.around = world{listen: network.Listen, dial: network.DialFrom(host), files: disk}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return network.Dial(ctx, simOutside, o.HTTPAddress)
		}
		web := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
		get := func(path string) (status int, body string) {
			t.Helper()
			began := time.Now()
			resp, err := web.Get("http://" + o.HTTPAddress + path)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if took := time.Since(began); err != nil || took > 100*time.Millisecond {
				t.Errorf("%s took %v: %v", path, took, err)
			}
			return resp.StatusCode, string(b)
		}
		well := func(is bool, says string) {
			t.Helper()
			wantPing, wantReady, wantGauge := http.StatusOK, http.StatusOK, "brokerd_healthy 1"
			if !is {
				wantPing, wantReady, wantGauge = http.StatusInternalServerError, http.StatusServiceUnavailable, "brokerd_healthy 0"
			}
			if status, body := get("/ping"); status != wantPing || !strings.Contains(body, says) {
				t.Errorf("/ping: %d %s", status, body)
			}
			if status, body := get("/ready"); status != wantReady || !strings.Contains(body, says) {
				t.Errorf("/ready: %d %s", status, body)
			}
			if status, body := get("/stats?format=json"); status != http.StatusOK || !strings.Contains(body, says) {
				t.Errorf("/stats: %d %s", status, body)
			}
			_, body := get("/metrics")
			if none := strings.Contains(body, `brokerd_disk_unanswered_seconds{waiting="publishes"} 0`+"\n"); !strings.Contains(body, wantGauge) || none != is {
				t.Errorf("/metrics says the disk answers: %v; want %s", none, wantGauge)
			}
		}
		client := func() *prototest.Client {
			conn, err := network.Dial(t.Context(), simOutside, o.TCPAddress)
			if err != nil {
				t.Fatal(err)
			}
			c := prototest.NewClient(t, conn)
			c.Send(prototest.Magic)
			return c
		}
		c, quick := client(), client()
		c.Send(prototest.Pub("t", "first"))
		c.Expect("OK")
		time.Sleep(10 * time.Second)
		well(true, "OK")

		thaw := make(chan struct{})
		frozen.Store(&thaw)
		c.Send(prototest.Pub("t", "second"))
		time.Sleep(stall.Patience - 100*time.Millisecond)
		if status, body := get("/ping"); status != http.StatusOK {
			t.Errorf("too early: %d %s", status, body)
		}
		time.Sleep(500 * time.Millisecond)
		well(false, "the disk has not answered for 5 s: publishes wait for it to write the log")
		quick.Send(prototest.Pub("memory.t", "x"))
		quick.Expect("OK")
		time.Sleep(time.Minute)
		well(false, "the disk has not answered for 65 s")

		frozen.Store(nil)
		close(thaw)
		c.Expect("OK")
		well(true, "OK")
		if log := said.String(); strings.Count(log, `level=ERROR msg="the disk does not answer" waiting=publishes`) != 1 ||
			!strings.Contains(log, `msg="the disk answers again" waited=publishes took=1m5.`) {
			t.Error(log)
		}
		_ = c.Conn.Close()
		_ = quick.Conn.Close()
	})
}
