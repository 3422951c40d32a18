package topic

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDelaysAreCountedFromPublishToDeliveryAndToFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow(t, 3)
		f.publish()
		time.Sleep(3 * time.Millisecond)
		f.publish()
		time.Sleep(30 * time.Millisecond)
		f.consume()
		got := f.sub.Channel().Stats()
		if n, sum := got.Finished.Count(), got.Finished.Sum; n != 6 || sum != 6*30*time.Millisecond { // the last one stands for all six
			t.Errorf("%d delays to FIN of %v altogether", n, sum)
		}
		if n, sum := got.Delivered.Count(), got.Delivered.Sum; n != 6 || sum != 3*(33+30)*time.Millisecond {
			t.Errorf("%d delays of %v altogether", n, sum)
		}
		if got.Delivered.Counts[4] != 6 { // over 25 and up to 100 ms
			t.Errorf("classes %v", got.Delivered.Counts)
		}
	})
}

func TestRedeliveryIsNoFirstDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow(t, 1)
		f.publish()
		for range 3 {
			time.Sleep(time.Second)
			f.sub.Take(&f.delivery)
			id, _ := first(f.delivery.Runs[0].Frames).ID()
			f.delivery.Clear()
			f.sub.Apply([]Answer{{ID: id, Verb: Requeue}}, nil)
		}
		s := f.sub.Channel().Stats()
		if s.Delivered.Count() != 1 || s.Delivered.Sum != time.Second || s.Finished.Count() != 0 {
			t.Errorf("delivered %+v, finished %+v", s.Delivered, s.Finished)
		}
	})
}

func TestOldestWaitingMessageIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow(t, 2)
		f.sub.SetReady(f.size)
		c := f.sub.Channel()
		if at := c.Stats().OldestAt; at != 0 {
			t.Errorf("%d before anything was published", at)
		}
		began := time.Now().UnixNano()
		f.publish()
		time.Sleep(time.Hour)
		f.publish()
		if at := c.Stats().OldestAt; at != began {
			t.Errorf("%d, wanted %d", at, began)
		}
		f.consume()
		if at := c.Stats().OldestAt; at != began+int64(time.Hour) {
			t.Errorf("%d after the first was taken, wanted %d", at, began+int64(time.Hour))
		}
		f.consume()
		if at := c.Stats().OldestAt; at != 0 {
			t.Errorf("%d when nothing waits", at)
		}
	})
}
