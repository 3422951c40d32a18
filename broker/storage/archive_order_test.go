package storage

import (
	"fmt"
	"testing"
	"testing/synctest"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// TestStartWithWhatIsOutOfAFileAsAWhole: a start of an ordered topic looks for the keys of what was out in files that are known as a whole,
// before the topic's channels are there; all that was out comes once more.
func TestStartWithWhatIsOutOfAFileAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h","ordered":true}`)
		for w.num < 60 {
			for range 5 {
				w.num++
				var b topic.Batch
				b.Add(fmt.Appendf(nil, "%d-%0400d", w.num, 0))
				b.Order(topic.Mark{}, fmt.Sprint("key ", w.num))
				if err := w.topic().Publish(&b); err != nil {
					t.Fatal(err)
				}
			}
			w.consume()
			w.rest(1)
		}
		w.rest(3)
		w.rewind("pos:1")
		var d topic.Delivery
		out := 0
		each := func() { each(&d, func(protocol.MessageFrame) { out++ }); d.Clear() }
		for w.sub.Take(&d) > 0 || out == 0 {
			each()
			synctest.Wait()
		}
		w.again()
		if got := w.consume(); len(got) != 60 || out == 0 {
			t.Errorf("%d were out of 60, and %d come", out, len(got))
		}
		w.end()
	})
}
