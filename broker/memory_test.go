package broker_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"brokerd/broker"
)

// TestUnansweredLargeMessagesTakeLittleMemory: a consumer that reads messages of 1 MiB and answers none has the broker grow by less than a third of
// them, 300 in make crash, with the default limits and 10 messages in memory.
func TestUnansweredLargeMessagesTakeLittleMemory(t *testing.T) {
	const size = 1 << 20
	count := 100
	if long {
		count = 300
	}
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
	grown := int64(heap()) - int64(before)
	t.Logf("%d MiB are in flight, and the heap grew by %d KiB", count, grown>>10)
	if grown > int64(count)*size/3 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}
