package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func founders(zones ...string) (list []Founder) {
	for i, z := range zones {
		list = append(list, Founder{Folder: fmt.Sprintf("folder%02d", i), Name: fmt.Sprint("node ", i), Address: fmt.Sprintf("10.0.0.%d:4170", i), Zone: z})
	}
	return list
}

func founded(t testing.TB, zones ...string) *State {
	t.Helper()
	first, err := First("prod", founders(zones...))
	fatal(t, err)
	s := new(State)
	fatal(t, s.Apply(Command{Op: OpFound, State: first}))
	return s
}

func text(t testing.TB, s *State) string {
	t.Helper()
	b, err := json.Marshal(s)
	fatal(t, err)
	return string(b)
}

// Every node leads two groups, has as many replicas as the others, and a group is in as many zones as there can be.
func TestGroupsAreLaidEvenlyAndOverZones(t *testing.T) {
	for name, c := range map[string]struct {
		zones    []string
		replicas int // of a group
		spread   int // zones of a group
	}{
		"one node":           {[]string{""}, 1, 1},
		"two nodes":          {[]string{"", ""}, 2, 1},
		"three nodes":        {[]string{"", "", ""}, 3, 1},
		"three zones":        {[]string{"a", "b", "c"}, 3, 3},
		"six in three zones": {[]string{"a", "a", "b", "b", "c", "c"}, 3, 3},
		"five in two zones":  {[]string{"a", "a", "a", "b", "b"}, 3, 2},
		"nine":               {[]string{"a", "b", "c", "a", "b", "c", "a", "b", "c"}, 3, 3},
	} {
		s := founded(t, c.zones...)
		leads, holds := map[string]int{}, map[string]int{}
		for _, g := range s.Groups {
			zones := map[string]bool{}
			leads[g.Preferred]++
			for _, r := range g.Replicas {
				holds[r.Folder]++
				zones[s.Nodes[r.Folder].Zone] = true
			}
			if len(g.Replicas) != c.replicas || len(zones) != c.spread {
				t.Errorf("%s: group %d has %d replicas in %d zones", name, g.Number, len(g.Replicas), len(zones))
			}
		}
		most, least := 0, 1<<30
		for _, f := range s.members() {
			most, least = max(most, holds[f]), min(least, holds[f])
			if leads[f] != 2 {
				t.Errorf("%s: node %s is to lead %d groups", name, f, leads[f])
			}
		}
		if len(s.Groups) != 2*len(c.zones) || most-least > 2 {
			t.Errorf("%s: %d groups, %d to %d replicas a node", name, len(s.Groups), least, most)
		}
	}
}

// The first 3 nodes decide about the map, 5 from 7 on, and all have it.
func TestTheMapIsEverywhereAndDecidedByFew(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 3, 6: 3, 7: 5, 12: 5} {
		s := founded(t, make([]string, n)...)
		voters := 0
		for _, r := range s.Meta {
			if !r.Learner {
				voters++
			}
		}
		if len(s.Meta) != n || voters != want {
			t.Errorf("%d nodes: %d have the map, %d decide, want %d", n, len(s.Meta), voters, want)
		}
	}
}

func TestATopicIsMadeOnceAndItsNumberIsItsOwn(t *testing.T) {
	s := founded(t, "", "", "")
	create := Command{Op: OpCreate, Topic: "orders", Level: Fsync, Load: map[int]float64{1: 5, 2: 1, 3: 5, 4: 5, 5: 5, 6: 5}}
	fatal(t, s.Apply(create))
	was := s.Topics["orders"]
	if was.Group != 2 || was.Number != 1 {
		t.Errorf("%+v", was)
	}
	create.Load = nil
	fatal(t, s.Apply(create)) // by another node, at the same time
	if now := s.Topics["orders"]; fmt.Sprint(now) != fmt.Sprint(was) {
		t.Errorf("made again as %+v", now)
	}
	fatal(t, s.Apply(Command{Op: OpDelete, Topic: "orders"}))
	fatal(t, s.Apply(Command{Op: OpDelete, Topic: "orders"}))
	if err := s.Apply(create); !errors.Is(err, ErrRefused) {
		t.Errorf("made while it is deleted: %v", err)
	}
	fatal(t, s.Apply(Command{Op: OpForget, Topic: "orders", Group: 2, Number: 1}))
	fatal(t, s.Apply(Command{Op: OpForget, Topic: "orders", Group: 2, Number: 1}))
	create.Load = map[int]float64{1: 5, 3: 5, 4: 5, 5: 5, 6: 5}
	fatal(t, s.Apply(create))
	if now := s.Topics["orders"]; now.Group != 2 || now.Number != 2 {
		t.Errorf("made again as %+v: its number was another's", now)
	}
	if err := s.Apply(Command{Op: OpForget, Topic: "orders", Group: 2, Number: 2}); !errors.Is(err, ErrRefused) {
		t.Errorf("forgotten without being deleted: %v", err)
	}
	if err := s.Apply(Command{Op: OpCreate, Topic: "fast", Level: Disk}); !errors.Is(err, ErrRefused) {
		t.Errorf("a level without groups: %v", err)
	}
}

func TestRules(t *testing.T) {
	s := founded(t, "", "", "")
	fatal(t, s.Apply(Command{Op: OpRules, Rules: []Rule{{"orders.local", 1}, {"orders.*", 3}, {"*", 1}}}))
	for topic, want := range map[string]int{"orders.local": 1, "orders.eu": 3, "clicks": 1} {
		if got := s.ReplicasOf(topic); got != want {
			t.Errorf("%s: %d replicas", topic, got)
		}
	}
	for _, r := range []Rule{{"[", 3}, {"", 3}, {"*", 0}, {"*", 2}, {"*", 4}, {"*", 7}} {
		if err := s.Apply(Command{Op: OpRules, Rules: []Rule{r}}); !errors.Is(err, ErrRefused) {
			t.Errorf("%+v is taken: %v", r, err)
		}
	}
}

// A node's number is given to another one only a day after.
func TestANumberRestsForADay(t *testing.T) {
	s := founded(t, "", "", "")
	now := int64(1_700_000_000)
	for i := range 2 {
		fatal(t, s.Apply(Command{Op: OpJoin, Folder: fmt.Sprint("new", i), Node: &Node{Address: fmt.Sprint("new", i, ":1")}}))
	}
	fatal(t, s.Apply(Command{Op: OpAdmit, Folder: "new0", Old: "folder02", Time: now}))
	for _, g := range s.Groups {
		if g.Move != nil {
			fatal(t, s.Apply(Command{Op: OpMoved, Group: g.Number, Replica: g.Move.Old}))
		}
	}
	fatal(t, s.Apply(Command{Op: OpRemove, Folder: "folder02", Time: now}))
	c := s.Clone()
	fatal(t, c.Apply(Command{Op: OpAdmit, Folder: "new1", Time: now + 86399}))
	if got := c.Nodes["new1"].Number; got == 2 {
		t.Errorf("number 2 is given again within a day")
	}
	fatal(t, s.Apply(Command{Op: OpAdmit, Folder: "new1", Time: now + 86400}))
	if got := s.Nodes["new1"].Number; got != 2 {
		t.Errorf("number %d, and 2 is free", got)
	}
}

// A bad map made good data look like nobody's, and it was deleted. Only the word deleting deletes.
func TestNothingIsDeletedBecauseTheMapDoesNotMentionIt(t *testing.T) {
	s := founded(t, "", "", "")
	for _, name := range []string{"a", "b", "c"} {
		fatal(t, s.Apply(Command{Op: OpCreate, Topic: name, Level: Fsync, Load: map[int]float64{2: 1, 3: 1, 4: 1, 5: 1, 6: 1}}))
	}
	fatal(t, s.Apply(Command{Op: OpDelete, Topic: "b"}))
	has := []Held{{1, "a"}, {2, "b"}, {9, "left over"}}
	steps, unknown := s.Steps(1, has, 2)
	if len(steps) != 2 || steps[0].Delete == nil || *steps[0].Delete != (Held{2, "b"}) || steps[1].Create == nil || *steps[1].Create != (Held{3, "c"}) {
		t.Errorf("steps %+v", steps)
	}
	if !slices.Equal(unknown, []Held{{9, "left over"}}) {
		t.Errorf("unknown %v", unknown)
	}
	if steps, _ := s.Steps(1, has, 3); len(steps) != 1 || steps[0].Delete == nil {
		t.Errorf("what was made and is not there any more is made again: %+v", steps)
	}
	steps, _ = s.Steps(1, []Held{{1, "a"}, {3, "c"}}, 3)
	if len(steps) != 1 || steps[0].Forget == nil || steps[0].Forget.Number != 2 {
		t.Errorf("after deleting: %+v", steps)
	}
	empty := &State{}
	if steps, unknown := empty.Steps(1, has, 3); len(steps) != 0 || len(unknown) != 3 {
		t.Errorf("an empty map has %+v done, and does not know %v", steps, unknown)
	}
	own := map[int]uint64{}
	for _, g := range s.Groups {
		for _, r := range g.Replicas {
			if r.Folder == "folder01" {
				own[g.Number] = r.ID
			}
		}
	}
	if got := s.Strangers("folder01", own); len(got) != 0 {
		t.Errorf("its own groups %v are strangers", got)
	}
	own[3]++     // under another id
	own[77] = 99 // of no group
	if got := s.Strangers("folder01", own); !slices.Equal(got, []int{3, 77}) {
		t.Errorf("strangers %v", got)
	}
	if got := empty.Strangers("folder01", map[int]uint64{1: 1}); !slices.Equal(got, []int{1}) {
		t.Errorf("by an empty map %v", got)
	}
}

// someCommand is one that may be carried out, or not.
func someCommand(rng *rand.Rand, s *State, now int64) Command {
	folders := append(slices.Sorted(maps.Keys(s.Nodes)), "nobody", fmt.Sprint("new", rng.IntN(30)))
	folder := func() string { return folders[rng.IntN(len(folders))] }
	c := Command{Op: []Op{OpJoin, OpAdmit, OpDrain, OpRemove, OpMove, OpMoved, OpAbandon, OpCreate, OpDelete, OpForget, OpRules, OpFound}[rng.IntN(12)],
		Folder: folder(), Group: rng.IntN(len(s.Groups) + 2), Topic: fmt.Sprint("t", rng.IntN(8)), Number: uint32(rng.IntN(4)), Level: Fsync, On: rng.IntN(2) == 0, Time: now,
		Replica: uint64(rng.IntN(int(s.LastID) + 2))}
	if rng.IntN(3) == 0 {
		c.Old = folder()
	}
	if rng.IntN(4) > 0 {
		c.Node = &Node{Address: fmt.Sprintf("10.0.1.%d:4170", rng.IntN(8)), Zone: string(rune('a' + rng.IntN(3)))}
	}
	if g := s.group(c.Group); g != nil && rng.IntN(2) == 0 {
		c.Replica = g.Replicas[rng.IntN(len(g.Replicas))].ID
		if g.Move != nil {
			c.Replica = g.Move.Old
		}
	}
	if t, known := s.Topics[c.Topic]; known && rng.IntN(2) == 0 {
		c.Group, c.Number = t.Group, t.Number
	}
	if c.Op == OpRules {
		c.Rules = []Rule{{Pattern: "t*", Replicas: rng.IntN(4)}}
	}
	return c
}

// Random commands, by seed: the same on two nodes, one of which starts anew from what it has written down; a refused
// one changes nothing; what cannot be never is; and nothing that names something is used twice: ids of
// replicas, numbers of topics.
func TestCommandsInOrderGiveOneState(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		zones := make([]string, 1+rng.IntN(7))
		for i := range zones {
			zones[i] = string(rune('a' + rng.IntN(3)))
		}
		a := founded(t, zones...)
		b := a.Clone()
		ids, topics := map[uint64]string{}, map[string]string{}
		done, refused, now := map[Op]int{}, 0, int64(1_700_000_000)
		for step := range 200 {
			now += int64(rng.IntN(40_000))
			c := someCommand(rng, a, now)
			line, err := c.Append(nil)
			fatal(t, err)
			parsed, err := ParseCommand(line)
			fatal(t, err)
			before := text(t, a)
			err = a.Apply(c)
			if err != nil {
				refused++
				if !errors.Is(err, ErrRefused) || text(t, a) != before {
					t.Fatalf("seed %d, step %d: %s is refused (%v) and changes the state", seed, step, line, err)
				}
			} else {
				done[c.Op]++
			}
			if errB := b.Apply(parsed); (errB == nil) != (err == nil) || text(t, a) != text(t, b) {
				t.Fatalf("seed %d, step %d: after %s two nodes differ:\n%s\n%s", seed, step, line, text(t, a), text(t, b))
			}
			if err := a.Check(); err != nil {
				t.Fatalf("seed %d, step %d: after %s: %v", seed, step, line, err)
			}
			for _, g := range a.Groups {
				for _, r := range g.Replicas {
					is := fmt.Sprint(g.Number, " on ", r.Folder)
					if was, known := ids[r.ID]; known && was != is {
						t.Fatalf("seed %d, step %d: replica %d was %s and is %s", seed, step, r.ID, was, is)
					}
					ids[r.ID] = is
				}
			}
			for name, tp := range a.Topics {
				key := fmt.Sprint(tp.Group, " ", tp.Number)
				if was, known := topics[key]; known && was != name {
					t.Fatalf("seed %d, step %d: topic %s was %s and is %s", seed, step, key, was, name)
				}
				topics[key] = name
			}
			if rng.IntN(20) == 0 {
				b = new(State)
				fatal(t, json.Unmarshal([]byte(text(t, a)), b))
			}
		}
		if refused == 0 || done[OpCreate] == 0 && len(zones) >= replicas || done[OpJoin] == 0 || done[OpFound] > 0 {
			t.Fatalf("seed %d: done %v, refused %d", seed, done, refused)
		}
	}
}

// Whatever a command says, it is refused or the state is one that can be.
func FuzzApply(f *testing.F) {
	first, err := First("prod", founders("a", "b", "c"))
	fatal(f, err)
	for _, c := range []Command{{Op: OpFound, State: first}, {Op: OpJoin, Folder: "x", Node: &Node{Address: "x:1"}}, {Op: OpMove, Group: 1, Replica: 4, Folder: "folder02"},
		{Op: OpCreate, Topic: "t", Level: Fsync, Load: map[int]float64{1: 2}}, {Op: OpAdmit, Folder: "x", Old: "folder01"}} {
		b, err := c.Append(nil)
		fatal(f, err)
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, begun bool) {
		c, err := ParseCommand(b)
		if err != nil {
			return
		}
		s := new(State)
		if begun {
			fatal(t, s.Apply(Command{Op: OpFound, State: first}))
		}
		if err := s.Apply(c); err != nil {
			return
		}
		if err := s.Check(); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		for _, g := range slices.Clone(s.Groups) { // what it left can be gone on with
			if g.Move != nil {
				fatal(t, s.Apply(Command{Op: OpMoved, Group: g.Number, Replica: g.Move.Old}))
			}
		}
		var again bytes.Buffer
		fatal(t, json.NewEncoder(&again).Encode(s))
	})
}

// booting is a node that has no state yet, or has one, in the simulation of founding.
type booting struct {
	said  Said
	state string // the cluster that it wrote down; its disk
	up    bool
	asked map[string]Said // what it has heard so far in this round
	next  int             // whom it asks next
}

// Nodes that start, stop, are wiped, and reach each other or not, never found two clusters that live, and found
// one when all is well.
func TestOneClusterIsFounded(t *testing.T) {
	begun := 0
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 2))
		n := 1 + rng.IntN(4)
		var peers []string
		for i := range n {
			peers = append(peers, fmt.Sprintf("n%d:4170", i))
		}
		wiped := 0
		nodes := make([]*booting, n)
		for i := range nodes {
			nodes[i] = &booting{up: true, asked: map[string]Said{}}
			nodes[i].said = Said{Founder: Founder{Folder: fmt.Sprint("f", i), Address: peers[i]}, Wants: "prod", Peers: peers}
		}
		for step := range 400 {
			calm := step > 250
			b := nodes[rng.IntN(n)]
			switch what := rng.IntN(20); {
			case what == 0 && !calm:
				b.up = !b.up
				b.said.Sum, b.asked, b.next = "", map[string]Said{}, 0
			case what == 1 && !calm && wiped < 3 && rng.IntN(4) == 0:
				wiped++
				b.said = Said{Founder: Founder{Folder: fmt.Sprint("wiped", wiped), Address: b.said.Address}, Wants: "prod", Peers: peers}
				b.state, b.asked, b.next = "", map[string]Said{}, 0
			default:
				if calm {
					b.up = true
				}
				if b.up && b.state == "" {
					b.ask(t, nodes, calm || rng.IntN(5) > 0)
				}
			}
			living := map[string]bool{}
			for _, b := range nodes {
				if b.state != "" {
					living[b.state] = true
				}
			}
			if len(living) > 1 {
				t.Fatalf("seed %d, step %d: clusters %v", seed, step, living)
			}
		}
		in := 0
		for _, b := range nodes {
			if b.state != "" {
				in++
			}
		}
		if in > 0 {
			begun++
		}
		if wiped == 0 && in != n {
			t.Errorf("seed %d: %d of %d nodes are in a cluster when all is well", seed, in, n)
		}
	}
	if begun < 400 {
		t.Errorf("a cluster was founded in %d of 600 runs", begun)
	}
}

// ask asks one peer, and decides when all were asked.
func (b *booting) ask(t *testing.T, nodes []*booting, reached bool) {
	for b.next < len(nodes) && nodes[b.next] == b {
		b.next++
	}
	if b.next < len(nodes) {
		if o := nodes[b.next]; o.up && reached {
			b.asked[o.said.Address] = o.said
		}
		b.next++
		return
	}
	d, err := Decide(b.said, b.asked)
	if err != nil {
		t.Fatal(err)
	}
	b.asked, b.next = map[string]Said{}, 0
	switch {
	case d.Found != nil:
		b.state, b.said.Cluster, b.said.WasMember = d.Found.Cluster, d.Found.Cluster, true
	case d.Join != "":
		for _, o := range nodes {
			if o.said.Address == d.Join && o.state != "" {
				b.state, b.said.Cluster, b.said.WasMember = o.state, o.state, true
			}
		}
	default:
		b.said.Sum = d.Sum
	}
}

// What a node does, by what its peers say.
func TestDecide(t *testing.T) {
	peers := []string{"a:1", "b:1", "c:1"}
	say := func(address string, change func(*Said)) Said {
		s := Said{Founder: Founder{Folder: "f" + address, Address: address}, Wants: "prod", Peers: peers}
		if change != nil {
			change(&s)
		}
		return s
	}
	first, err := First("prod", []Founder{say("a:1", nil).Founder, say("b:1", nil).Founder, say("c:1", nil).Founder})
	fatal(t, err)
	agreed := func(s *Said) { s.Sum = first.Cluster }
	in := func(s *Said) { s.Cluster = "x" }
	for name, c := range map[string]struct {
		self    Said
		answers []Said
		want    string // found, join, sum, wait, error
	}{
		"nobody answers":                           {say("a:1", nil), nil, "wait"},
		"one does not":                             {say("a:1", agreed), []Said{say("b:1", agreed)}, "wait"},
		"all are new":                              {say("a:1", nil), []Said{say("b:1", nil), say("c:1", nil)}, "sum"},
		"all have heard all":                       {say("a:1", agreed), []Said{say("b:1", agreed), say("c:1", agreed)}, "found"},
		"one has not heard":                        {say("a:1", agreed), []Said{say("b:1", agreed), say("c:1", nil)}, "sum"},
		"one is in a cluster":                      {say("a:1", nil), []Said{say("b:1", in)}, "join"},
		"one is in a cluster, the rest agree":      {say("a:1", agreed), []Said{say("b:1", in), say("c:1", agreed)}, "join"},
		"this one has lost its state":              {say("a:1", func(s *Said) { s.WasMember = true; agreed(s) }), []Said{say("b:1", agreed), say("c:1", agreed)}, "wait"},
		"and comes back to the others":             {say("a:1", func(s *Said) { s.WasMember = true }), []Said{say("b:1", in)}, "join"},
		"another one has lost its state":           {say("a:1", agreed), []Said{say("b:1", agreed), say("c:1", func(s *Said) { s.WasMember = true; agreed(s) })}, "wait"},
		"two clusters":                             {say("a:1", nil), []Said{say("b:1", in), say("c:1", func(s *Said) { s.Cluster = "y" })}, "error"},
		"another name":                             {say("a:1", nil), []Said{say("b:1", func(s *Said) { s.Wants = "test" }), say("c:1", nil)}, "error"},
		"a cluster of another name":                {say("a:1", nil), []Said{say("b:1", func(s *Said) { s.Wants = "test"; in(s) })}, "error"},
		"another list":                             {say("a:1", nil), []Said{say("b:1", func(s *Said) { s.Peers = peers[:2] }), say("c:1", nil)}, "error"},
		"two with one folder":                      {say("a:1", nil), []Said{say("b:1", func(s *Said) { s.Folder = "fa:1" }), say("c:1", nil)}, "error"},
		"not in its own list, and nobody answers":  {say("d:1", nil), nil, "error"},
		"not in its own list, one is in a cluster": {say("d:1", nil), []Said{say("b:1", in)}, "join"},
		"not in its own list":                      {say("d:1", nil), []Said{say("a:1", nil), say("b:1", nil), say("c:1", nil)}, "error"},
	} {
		answers := map[string]Said{}
		for _, a := range c.answers {
			answers[a.Address] = a
		}
		d, err := Decide(c.self, answers)
		got := "wait"
		switch {
		case err != nil:
			got = "error"
		case d.Found != nil:
			got = "found"
		case d.Join != "":
			got = "join"
		case d.Sum != "":
			got = "sum"
		}
		if got != c.want || got == "wait" && d.Why == "" {
			t.Errorf("%s: %s (%+v, %v), want %s", name, got, d, err, c.want)
		}
	}
}

func TestCommandsThatAreNotKnown(t *testing.T) {
	for _, b := range []string{"", "{", `{"op":"dissolve"}`, `{}`} {
		if c, err := ParseCommand([]byte(b)); err == nil {
			t.Errorf("%q is %+v", b, c)
		}
	}
	if err := new(State).Apply(Command{Op: OpCreate, Topic: "t", Level: Fsync}); !errors.Is(err, ErrRefused) {
		t.Errorf("without a cluster: %v", err)
	}
	if err := founded(t, "").Apply(Command{Op: "dissolve"}); err == nil {
		t.Error("an unknown operation is carried out")
	}
}
