package member

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"brokerd/broker/cluster"
	"brokerd/broker/peer"
)

// A node that dies, or whose disk fails, between any two writes of taking a map, starts again as what it was or is to be.
func TestKilledBetweenAnyTwoWritesOfAnInstall(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		late := nodes[2]
		late.kill()
		rest := without(nodes, late)
		leader(t, rest)
		for works := range 4 { // the start, the map's file, the manifest; the last time all of it
			for i := range 3 {
				do(t, func(ctx context.Context) error { return rest[0].m.Do(ctx, rules(1+2*((i+works)%3))) })
				for _, n := range rest {
					n.checkpoint()
					n.checkpoint()
				}
			}
			late.startAndFail(works, "sent whole") // without a write that works it is in no cluster
		}
		late.start()
		eventually(t, "all are members", func() bool { return well(nodes) })
		sameMap(t, nodes)
	})
}

// The same of a node that is let in: it joins in the end, whatever fails on the way, and has one id.
func TestANodeThatIsLetInOutlivesItsDisk(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		fourth := letIn(t, nodes)
		for works := 1; works < 3; works++ {
			fourth.startAndFail(works, "")
		}
		fourth.start()
		all := append(nodes, fourth)
		eventually(t, "all are members", func() bool { return well(all) })
		sameMap(t, all)
	})
}

// Through kills of whoever it is, under load, maps are equal at equal entries, and no change that was answered is missing.
func TestMapsAreOneThroughKills(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := run(t, 3)
		rng := rand.New(rand.NewPCG(6, 7))
		names := map[string]string{}
		for round := range 6 {
			for range 5 {
				n := nodes[rng.IntN(3)]
				folder := fmt.Sprintf("stranger-%d", rng.IntN(8))
				name := fmt.Sprint("name ", rng.IntN(1000))
				err := n.m.Do(t.Context(), cluster.Command{Op: cluster.OpJoin, Folder: folder, Node: &cluster.Node{Name: name, Address: "127.0.0.1:1"}})
				if err == nil {
					names[folder] = name
				} else {
					delete(names, folder) // it may be or not
				}
				if rng.IntN(3) == 0 {
					nodes[rng.IntN(3)].checkpoint()
				}
			}
			killed := nodes[rng.IntN(3)]
			killed.kill()
			leader(t, without(nodes, killed))
			killed.start()
			eventually(t, fmt.Sprintf("round %d: all are members", round), func() bool { return well(nodes) })
		}
		var state cluster.State
		fatal(t, json.Unmarshal([]byte(sameMap(t, nodes)), &state))
		for folder, name := range names {
			if state.Nodes[folder].Name != name {
				t.Errorf("%s was called %q, and is %q", folder, name, state.Nodes[folder].Name)
			}
		}
	})
}

// Whatever a peer says is taken, or refused, without harm.
func FuzzWhatPeersSay(f *testing.F) {
	first, err := cluster.First("prod", []cluster.Founder{{Folder: "a", Address: "a:1"}, {Folder: "b", Address: "b:1"}, {Folder: "c", Address: "c:1"}})
	if err != nil {
		f.Fatal(err)
	}
	w := &whole{Map: first}
	w.Point.Index, w.Point.Term, w.Point.Members.Voters = 1, 1, []uint64{1, 2, 3}
	f.Add(uint8(19), w.encode())
	f.Add(uint8(16), []byte("12345678"))
	f.Add(uint8(17), []byte(`{"command":{"op":"join"},"lead_to":"x"}`))
	f.Add(uint8(32), []byte(`{"Folder":"x"}`))
	f.Add(uint8(33), []byte(`{"Folder":"x","Wants":"prod","Replica":3,"Lost":true}`))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		m := &Member{o: Options{Name: "prod", Folder: "me"}, kick: make(chan struct{}, 1), asked: make(chan struct{}), routes: map[uint64]string{},
			pending: map[uint32]chan reply{1: make(chan reply, 1)}, said: map[string]string{}, way: member, state: first, point: w.Point}
		m.o.Log = discard
		links, err := peer.New(peer.Options{Self: peer.Hello{Folder: "me"}, Judge: func(peer.Hello) error { return nil }, Received: m.received})
		fatal(t, err)
		defer links.Close()
		m.links = links
		m.ctx, m.stop = context.WithCancel(t.Context())
		m.stop()
		m.received("x", peer.Control, peer.Kind(kind), 1, b, true)
		if m.sent != nil && (m.sent.Map == nil || m.sent.Point.Index == 0) {
			t.Errorf("a map that says nothing is taken: %+v", m.sent)
		}
		if said := m.answer(peer.Hello{Folder: "x"}, peer.Kind(kind), b); len(said) == 0 {
			t.Error("no answer")
		}
	})
}
