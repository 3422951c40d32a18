package topic

import (
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/journal"
)

// TestAChannelPastTheEnd: a power cut has taken publishes of which later records say that they were delivered and finished. The channel
// stands past the end of the topic then; what is published next is delivered, and no position is given twice.
func TestAChannelPastTheEnd(t *testing.T) {
	for _, finished := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := &keptLog{}
			cfg := config()
			makeDurable(&cfg)
			cfg.Journal = l
			topic := mustTopic(t, start(t, cfg), "t")
			mustChannel(t, topic, "c")
			for range 10 {
				publish(t, topic, 1)
			}
			s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{})
			if finished {
				finishAll(s)
			} else {
				var d Delivery
				s.Take(&d)
			}
			_ = s.Close()
			cut := &keptLog{}
			for _, r := range l.records {
				if p, _, err := journal.ParsePublish(r.data); r.kind == journal.KindPublish && (err != nil || p.First > 4) {
					continue
				}
				cut.records = append(cut.records, r)
			}
			again := recovered(t, cut).Lookup("t")
			var b Batch
			b.Add([]byte("next"))
			if err := again.Publish(&b); err != nil {
				t.Fatal(err)
			}
			if pos := b.Receipt().Position; pos <= 10 {
				t.Errorf("position %d is given twice", pos)
			}
			got := waiting(t, again, "c")
			if len(got) == 0 || got[len(got)-1] != "next" {
				t.Errorf("the channel gets %q", got)
			}
		})
	}
}
