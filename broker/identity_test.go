package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

// publishMany publishes bodies prefix0 to prefix<count-1>, in one command.
func publishMany(t *testing.T, n *node, prefix string, count int) (bodies []string) {
	t.Helper()
	for i := range count {
		bodies = append(bodies, fmt.Sprint(prefix, i))
	}
	n.post("/mpub?topic=t", strings.Join(bodies, "\n"))
	return bodies
}

// TestFolderUnderAnotherNodeID: a folder that is opened under another node id, larger or smaller, has all of its messages and takes new
// ones, on channels made before and afterwards, through any number of such starts; what was there keeps its ids, and new ids have the
// new number. It is the same for another host name, of which the number is made.
func TestFolderUnderAnotherNodeID(t *testing.T) {
	t.Parallel()
	const each = 1000
	for _, nodes := range [][]int64{{2, 1}, {1, 2}, {1023, 0, 512, 0}} {
		for _, level := range []broker.Durability{levelMemory, levelDisk, levelFsync} {
			t.Run(fmt.Sprint(nodes, level), func(t *testing.T) {
				o := options(t)
				o.Durability = level
				var n *node
				var want []string
				for i, id := range nodes {
					if o.NodeID = id; n != nil {
						n.stop()
					}
					n = startWith(t, o)
					if i == 0 {
						n.post("/topic/create?topic=t", "")
						n.post("/channel/create?topic=t&channel=before", "")
					}
					want = append(want, publishMany(t, n, fmt.Sprint("life", i, "-"), each)...)
				}
				expectLives(t, n.subscribe("t", "before", 100), nodes, want)
				n.post("/channel/create?topic=t&channel=later", "")
				more := publishMany(t, n, "more", each)
				got := take(n.subscribe("t", "later", 100), each)
				slices.Sort(got)
				slices.Sort(more)
				if !slices.Equal(got, more) {
					t.Errorf("a channel made afterwards got %d of %d", len(got), each)
				}
			})
		}
	}
}

// expectLives takes all bodies and demands that each has an id of the node of its life.
func expectLives(t *testing.T, c *prototest.Client, nodes []int64, want []string) {
	t.Helper()
	var got []string
	ids := map[string]bool{}
	for range want {
		m := c.Next().Message()
		body := string(m.Body)
		var life, number int
		if _, err := fmt.Sscanf(body, "life%d-%d", &life, &number); err != nil {
			t.Fatalf("got %q: %v", body, err)
		}
		var id uint64
		if _, err := fmt.Sscanf(m.ID, "%x", &id); err != nil || int64(id>>54) != nodes[life] || ids[m.ID] {
			t.Fatalf("%s has id %s, wanted one of node %d that no other has", body, m.ID, nodes[life])
		}
		ids[m.ID] = true
		got = append(got, body)
		c.Send("FIN " + m.ID + "\n")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %d messages, not those that were published", len(got))
	}
}
