package broker_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"brokerd/broker"
)

// TestUnansweredLargeMessagesTakeLittleMemory: a consumer that reads 300 messages of 1 MiB and answers none has the broker grow by less
// than 100 MB, with the default limits and 10 messages in memory.
func TestUnansweredLargeMessagesTakeLittleMemory(t *testing.T) {
	const count, size = 300, 1 << 20
	n := start(t, func(o *broker.Options) {
		o.MemQueueSize = 10
		o.MsgTimeout = 10 * time.Minute
	})
	n.post("/topic/create?topic=t", "")
	n.post("/channel/create?topic=t&channel=c", "")
	body := string(bytes.Repeat([]byte("x"), size-1))
	for range count {
		n.post("/pub?topic=t", body)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	c := n.subscribe("t", "c", 2500)
	for range count {
		if m := c.Next().Message(); len(m.Body) != size-1 {
			t.Fatalf("a body has %d bytes", len(m.Body))
		}
	}
	if got := n.channel("t", "c").InFlightCount; got != count {
		t.Errorf("%d are in flight, want %d", got, count)
	}
	if after := heap(); after > before+100e6 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}
