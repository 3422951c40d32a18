package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"brokerd/protocol"
)

// TestAMessageIsFoundByIdsOfManyMakes: in a topic that an nsqd has left, and three brokers of other numbers have published to, each message is found by its
// id, also after one more start; it is never another one.
func TestAMessageIsFoundByIdsOfManyMakes(t *testing.T) {
	o := options(t)
	o.DataPath, o.Durability = nsqdFolder(t), levelDisk
	want := map[string]string{} // by id
	for i := 20; i < 300; i += 31 {
		want[protocol.MessageID(0x0d00_0000_0000_0000+i).String()] = fmt.Sprint("a", i)
	}
	var n *node
	for life, id := range []int64{700, 3, 512} {
		if o.NodeID = id; n != nil {
			n.stop()
		}
		n = startWith(t, o)
		var bodies []string
		for i := range 300 {
			bodies = append(bodies, fmt.Sprint("life", life, "-", i))
		}
		for i, id := range n.published("/mpub?topic=t", strings.Join(bodies, "\n")).IDs {
			if i%37 == 0 {
				want[id] = bodies[i]
			}
		}
	}
	find := func() {
		t.Helper()
		for id, body := range want {
			if m := n.messageAt("id=" + id); m.ID != id || m.Body == nil || *m.Body != body {
				t.Errorf("%s is found as %+v, want %q", id, m.Message, body)
			}
		}
		n.run([]request{{"GET", "/message?topic=t&id=0c0000000000ffff", "", 404, "MESSAGE_NOT_FOUND"}})
	}
	find()
	n.stop()
	n = startWith(t, o)
	find()
}
