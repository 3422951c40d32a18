package backlog

import (
	"bytes"
	"sync"
	"testing"

	"brokerd/protocol"
)

// fullNode appends messages until a node of full size is closed, and returns it.
func fullNode(tail *Tail, body byte) *Node {
	batch := appendMessage(nil, protocol.MessageID(body), 16<<10)
	for {
		n := tail.Last()
		at, _ := tail.Append(batch)
		tail.Note(at, 1, 1)
		if n != nil && n.Closed() && len(*n.mem.Load()) == maxNode {
			return n
		}
	}
}

// The bytes of evicted nodes are used again.
func TestEvictedBytesAreUsedAgain(t *testing.T) {
	var tail Tail
	evicted := map[*[]byte]bool{}
	for range 100 { // the collector, or the race detector, may take some
		n := fullNode(&tail, 'x')
		mem := n.mem.Load()
		if n.Evict(); n.InMemory() {
			t.Fatal("an evicted node is in memory")
		}
		if evicted[mem] {
			return
		}
		evicted[mem] = true
	}
	t.Error("none of 100 nodes had bytes of one before it")
}

// Whoever has had a node's bytes may keep them: nothing is written over them.
func TestLentBytesStay(t *testing.T) {
	for name, take := range map[string]func(n *Node) []byte{
		"Frames":        (*Node).Frames,
		"Frame":         func(n *Node) []byte { return n.Frame(0) },
		"Extent.Frames": func(n *Node) []byte { return Extent{from: place{n, 0}, to: place{n, n.used}}.Frames() },
		"Queue.Next": func(n *Node) []byte {
			var q Queue
			q.Add(Extent{from: place{n, 0}, to: place{n, n.used}, first: 1, last: 1}, 1)
			f, _ := q.Next()
			return f
		},
	} {
		var tail Tail
		n := fullNode(&tail, 'a')
		taken := take(n)
		before := bytes.Clone(taken)
		n.Evict()
		for range 2 * maxSpares {
			fullNode(&tail, 'b').Evict()
		}
		if !bytes.Equal(taken, before) {
			t.Errorf("%s: bytes were written over", name)
		}
	}
}

// Who looks for a node's bytes while it is evicted gets none, or keeps them.
func TestLentWhileEvicted(t *testing.T) {
	var tail Tail
	for range 200 {
		n := fullNode(&tail, 'a')
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				frames := n.Frames()
				if frames == nil {
					return
				}
				for range 3 {
					if body := frames[len(frames)-16<<10:]; !bytes.Equal(body, bytes.Repeat([]byte{'a'}, len(body))) {
						t.Error("bytes were written over")
					}
				}
			})
		}
		n.Evict()
		fullNode(&tail, 'b').Evict()
		readers.Wait()
	}
}

// No more bytes are kept than maxSpares nodes have, however many are evicted at once.
func TestFewSparesAreKept(t *testing.T) {
	var tail Tail
	var nodes []*Node
	for range 4 * maxSpares {
		nodes = append(nodes, fullNode(&tail, 'x'))
	}
	for _, n := range nodes {
		n.Evict()
	}
	if kept := spares.kept.Load(); kept > maxSpares {
		t.Errorf("%d are kept", kept)
	}
}
