package broker_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

// huge is the largest body that a broker can be told to take.
const huge = math.MaxInt32 - 64

// hostile lists what a client may say and then fall silent, or hear an error and be closed.
func hostile(random *rand.Rand) []string {
	noise := make([]byte, 1+random.IntN(5000))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	negotiate := func(what string) string {
		return "IDENTIFY\n" + prototest.Body(`{"feature_negotiation":true,"`+what+`":true}`)
	}
	list := []string{
		"",
		" ",
		prototest.Magic,
		prototest.Magic + "PUB half a line",
		prototest.Magic + "PUB t\n" + prototest.I32(huge) + "a few bytes",
		prototest.Magic + "PUB t\n" + prototest.I32(math.MaxInt32) + "too much",
		prototest.Magic + "DPUB t 1000\n" + prototest.I32(huge),
		prototest.Magic + "MPUB t\n" + prototest.I32(math.MaxInt32) + prototest.I32(400_000_000),
		prototest.Magic + "MPUB t\n" + prototest.I32(math.MaxInt32) + prototest.I32(1) + prototest.I32(huge),
		prototest.Magic + "IDENTIFY\n" + prototest.I32(math.MaxInt32) + `{"client_id":"`,
		prototest.Magic + "AUTH\n" + prototest.I32(math.MaxInt32),
		prototest.Magic + "PUB t\n" + prototest.I32(-1),
		prototest.Magic + strings.Repeat("x", 20_000),
		prototest.Magic + strings.Repeat("x", 20_000) + "\n",
		prototest.Magic + strings.Repeat("FIN 0123456789abcdef\n", 50),
		prototest.Magic + "SUB t c\nRDY 2500\n" + strings.Repeat("FIN 0123456789abcdef\n", 50) + "TOUCH",
		prototest.Magic + string(noise),
		string(noise),
		prototest.Magic + negotiate("snappy") + string(noise),
		prototest.Magic + negotiate("snappy") + "\xff\x06\x00\x00sNaPpY\x00\xff\xff\xff" + strings.Repeat("\xfe", 100),
		prototest.Magic + negotiate("tls_v1") + string(noise),
	}
	if random.IntN(10) == 0 { // a deflate compressor takes more than a megabyte, asked for in good faith or not
		list = append(list, prototest.Magic+negotiate("deflate")+string(noise))
	}
	return list
}

// TestBadInput: two thousand connections that say half of something, or nonsense, or declare bodies of two gigabytes, cost
// little memory, and a client that behaves notices nothing.
func TestBadInput(t *testing.T) {
	a := newAuthority(t)
	n := start(t, func(o *broker.Options) {
		a.serve(o)
		o.MaxMsgSize, o.MaxBodySize = huge, math.MaxInt32
	})
	const connections, limit = 2000, 200 << 20
	random := rand.New(rand.NewPCG(1, 2))
	before := memory()
	stop, behaved := make(chan struct{}), make(chan error, 1)
	producer, consumer := n.dial(), n.subscribe("good", "c", 10)
	go func() { behaved <- behave(producer, consumer, stop) }()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for len(conns) < connections {
		for _, words := range hostile(random) {
			conn, err := net.Dial("tcp", n.TCPAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			_, _ = conn.Write([]byte(words)) // which may be refused half-way
		}
	}
	last := n.dial() // all others were accepted before it
	last.Send(prototest.Pub("t", "x"))
	last.Expect("OK")
	grown := memory() - before
	t.Logf("%d connections took %d KiB", len(conns), grown>>10)
	if grown > limit {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	close(stop)
	if err := <-behaved; err != nil {
		t.Errorf("the client that behaves: %v", err)
	}
}

// memory returns the bytes that the process holds, garbage that was not collected yet included.
func memory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// behave publishes and consumes until it is told to stop.
func behave(producer, consumer *prototest.Client, stop <-chan struct{}) error {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		body := fmt.Sprint("message ", i)
		if err := producer.Write(prototest.Pub("good", body)); err != nil {
			return err
		}
		if f, err := producer.Read(); err != nil || string(f.Payload) != "OK" {
			return fmt.Errorf("publishing: %v, %w", f, err)
		}
		f, err := consumer.Read()
		if err != nil || f.Type != prototest.Message || string(f.Message().Body) != body {
			return fmt.Errorf("consuming: %v, %w", f, err)
		}
		if err := consumer.Write("FIN " + f.Message().ID + "\n"); err != nil {
			return err
		}
	}
}

// TestManyAtOnce: connections that publish, consume, answer, leave and are looked at all at the same time lose nothing.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, nil)
	const producers, each = 8, 250
	n.post("/topic/create?topic=t", "")
	n.post("/channel/create?topic=t&channel=c", "")
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for p := range producers {
		c := n.dial()
		wg.Go(func() {
			for i := range each {
				if err := c.Write(prototest.Pub("t", fmt.Sprint(p, ".", i))); err != nil {
					errs <- err
					return
				}
				if f, err := c.Read(); err != nil || string(f.Payload) != "OK" {
					errs <- fmt.Errorf("publishing: %v, %w", f, err)
					return
				}
			}
		})
	}
	var mu sync.Mutex
	seen := map[string]int{}
	for k := range 4 {
		c := n.subscribe("t", "c", 25)
		wg.Go(func() {
			for i := 0; ; i++ {
				f, err := c.Read()
				if err != nil {
					return // closed below
				}
				m := f.Message()
				verb := "FIN " + m.ID
				if i%10 == k {
					verb = "REQ " + m.ID + " 0"
				} else {
					mu.Lock()
					seen[string(m.Body)]++
					mu.Unlock()
				}
				if c.Write(verb+"\n") != nil {
					return
				}
			}
		})
		defer c.Conn.Close()
	}
	eventually(t, "everything is consumed", func() bool {
		n.get("/stats")
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == producers*each || len(errs) > 0
	})
	eventually(t, "everything is finished", func() bool { c := n.channel("t", "c"); return c.Depth+int64(c.InFlightCount) == 0 })
	n.post("/topic/delete?topic=t", "") // which ends the consumers
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	for body, times := range seen {
		if times != 1 {
			t.Errorf("%s was finished %d times", body, times)
		}
	}
}
