package topic

import (
	"reflect"
	"testing"
	"unsafe"

	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Reset names every field, so that a new one cannot be forgotten: all are emptied but what is of the last stamp.
func TestResetForgetsEveryFieldOfAPublish(t *testing.T) {
	stay := map[string]bool{"first": true, "stamped": true, "receipt": true}
	list := map[string]bool{"frames": true, "keys": true, "sums": true}
	b := &Batch{Later: new(Wakes), Due: 1, TTL: 1, Acks: 1, From: journal.Origin{ID: 1, Number: 1, Low: 1}, InOrder: true, Receipts: true,
		frames: make([]byte, 9), n: 1, bodies: 1, open: 1, beside: make([]journal.Beside, 1), sums: make([]uint32, 1),
		keys: make([]journal.Key, 1), first: protocol.MessageID(1), stamped: 1, receipt: Receipt{Count: 1}}
	v := reflect.ValueOf(b).Elem()
	field := func(i int) reflect.Value {
		f := v.Field(i)
		return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
	}
	for i := range v.NumField() {
		if field(i).IsZero() {
			t.Fatalf("the test gives %s no value", v.Type().Field(i).Name)
		}
	}
	b.Reset()
	for i := range v.NumField() {
		switch name, f := v.Type().Field(i).Name, field(i); {
		case stay[name]:
			if f.IsZero() {
				t.Errorf("%s is gone", name)
			}
		case list[name]:
			if f.Len() != 0 || f.Cap() == 0 {
				t.Errorf("%s has %d elements and room for %d, should be empty and keep its memory", name, f.Len(), f.Cap())
			}
		case !f.IsZero():
			t.Errorf("%s is still %v", name, f)
		}
	}
	b.frames = make([]byte, 0, maxKept+1)
	if b.Reset(); b.frames != nil {
		t.Error("it keeps more memory than it should")
	}
}
