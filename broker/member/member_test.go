package member

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/replica"
	"brokerd/broker/simnet"
	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
	"brokerd/protocol/httpapi"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { leaktest.Main(m) }

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shelf is a store in memory with a disk of its own for the log: what is left when a node is killed.
type shelf struct {
	mu    sync.Mutex
	disk  *vfs.Mem
	man   manifest.Manifest
	files map[uint64][]byte
	left  int  // operations that work before the disk fails; negative: it does not
	fails bool // one has failed
	kept  int  // how often the manifest was replaced

	unread error // of ReadGroup; nil: it reads
}

// pieceSize is that of what is sent whole: transfers of many pieces are to be small.
const pieceSize = 32 << 10

// logFileSize is that of nodes' logs: a file on a disk in memory is all there from its beginning, and the usual 16 MiB would be most of what tests take.
const logFileSize = 256 << 10

func newShelf() *shelf {
	return &shelf{disk: vfs.NewMem(), man: manifest.Manifest{Folder: manifest.NewID()}, files: map[uint64][]byte{}, left: -1}
}

var errDisk = errors.New("the disk is gone")

// works counts an operation, and reports whether the disk still works.
func (s *shelf) works() bool {
	if s.left == 0 {
		s.fails = true
		return false
	}
	s.left--
	return true
}

// copy returns what a copy of the folder has at this moment.
func (s *shelf) copy() *shelf {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &shelf{disk: s.disk.KillClone(), man: s.man.Clone(), files: map[uint64][]byte{}, left: -1}
	for n, b := range s.files {
		c.files[n] = b
	}
	return c
}

func (s *shelf) Kept() ([]manifest.Group, json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.man.Clone()
	return m.Groups, m.Cluster
}

func (s *shelf) Keep(change func(*manifest.Manifest)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.man.Clone()
	change(&m)
	if !s.works() {
		return errDisk
	}
	s.man = m
	s.kept++
	return nil
}

func (s *shelf) WriteGroup(_ uint32, parts ...[]byte) (c manifest.GroupCheckpoint, err error) {
	content := slices.Concat(parts...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.works() {
		return c, errDisk
	}
	c.Number = uint64(len(s.files) + 1)
	s.files[c.Number] = bytes.Clone(content)
	return c, nil
}

func (s *shelf) ReadGroup(_ uint32, c manifest.GroupCheckpoint) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unread != nil {
		return nil, s.unread
	}
	if b, ok := s.files[c.Number]; ok {
		return b, nil
	}
	return nil, errors.New("it is not there")
}

// node is a member with its folder, which stays when it is killed.
type node struct {
	t       *testing.T
	name    string
	address string
	peers   []string
	cluster string
	secret  []byte
	fast    bool
	wait    time.Duration // 0: 2 s
	elect   time.Duration // Options.Election; 0: 500 ms
	rate    int           // Options.BulkRate
	behind  int64         // Options.Behind; 0: 1, so that nothing is kept for who lacks it
	network *simnet.Net
	shelf   *shelf
	log     *wal.Log
	sick    illness // of the log
	m       *Member
	lines   *lines
	number  atomic.Int64  // that it was told
	skew    time.Duration // of its clock
	names   sync.Map      // that replicated topics have, as it was told

	groups   sync.Mutex // guards what follows
	shards   map[uint32]*notes
	receives int                     // how often it has begun to take what others have of a group
	takes    func(n, part int) error // is told of each part of such a thing, and may fail; nil: nobody is
}

// lines is a log that can be looked through.
type lines struct{ cmdtest.Screen }

func (l *lines) has(text string) bool { return strings.Contains(l.String(), text) }

// virtually runs a test in virtual time, beside others: elections, limits of time and pauses are the same however busy the machine is.
func virtually(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// newNodes makes as many nodes with one list of peers, none of which runs, on a network of their own.
func newNodes(t *testing.T, count int) []*node {
	t.Helper()
	return newNodesOn(t, simnet.New(1), count)
}

// hosts numbers those of nodes.
var hosts atomic.Int64

func newNodesOn(t *testing.T, network *simnet.Net, count int) (nodes []*node) {
	t.Helper()
	var peers []string
	for i := range count {
		n := newNode(t, network, fmt.Sprint("n", i+1))
		nodes, peers = append(nodes, n), append(peers, n.address)
	}
	for _, n := range nodes {
		n.peers = peers
	}
	return nodes
}

// newNode makes a node with an address of its own.
func newNode(t *testing.T, network *simnet.Net, name string) *node {
	t.Helper()
	address := fmt.Sprintf("host-%d:4170", hosts.Add(1))
	n := &node{t: t, name: name, address: address, cluster: "prod", network: network, shelf: newShelf(), lines: &lines{}, shards: map[uint32]*notes{}}
	n.sick.hang = make(gate, 1)
	t.Cleanup(n.stop)
	return n
}

// another makes one more that wants to join those.
func another(t *testing.T, nodes []*node, name string) *node {
	t.Helper()
	n := newNode(t, nodes[0].network, name)
	n.peers = nodes[0].peers
	return n
}

// prepare opens the node's log and makes a member of it.
func (n *node) prepare() error {
	var found replica.Recovery
	groups, _ := n.shelf.Kept()
	need := wal.Need{}
	for i, g := range groups {
		if i == 0 || g.From.Before(need.From) {
			need.From = g.From
		}
	}
	log, report, err := wal.Open(wal.Options{FS: n.shelf.disk, Dir: "/log", FileSize: logFileSize, Need: need}, found.Replay)
	fatal(n.t, err)
	log.Start()
	n.log = log
	n.m, err = New(Options{Name: n.cluster, Node: n.name, Address: n.address, Peers: n.peers, Folder: n.shelf.man.Folder.String(), Secret: n.secret, Dialer: n.network.DialFrom(simnet.HostOf(n.address)),
		Election: cmp.Or(n.elect, 500*time.Millisecond), Fast: n.fast, Wait: cmp.Or(n.wait, 2*time.Second), Pace: 50 * time.Millisecond, Behind: cmp.Or(n.behind, 1), BulkRate: n.rate, Piece: pieceSize, Skew: n.skew,
		Store: n.shelf, Journal: &sickLog{log, &n.sick}, Recovery: &found, Report: &report, Shard: n.newShard, Receive: n.receive, Number: func(i int) { n.number.Store(int64(i)) }, Named: n.named,
		Log: slog.New(slog.NewTextHandler(n.lines, nil))})
	return err
}

// named notes a name.
func (n *node) named(name string, is bool) {
	if is {
		n.names.Store(name, true)
	} else {
		n.names.Delete(name)
	}
}

// listen returns a listener at the node's address.
func (n *node) listen() (net.Listener, error) { return n.network.Listen(n.address) }

func (n *node) start() {
	n.t.Helper()
	fatal(n.t, n.prepare())
	l, err := n.listen()
	fatal(n.t, err)
	fatal(n.t, n.m.Start(l))
}

// startAndFail starts the node with a disk that fails after so many operations, and kills it once it has, or has said something unless that is empty.
func (n *node) startAndFail(works int, said string) {
	n.t.Helper()
	fatal(n.t, n.prepare())
	n.shelf.mu.Lock()
	n.shelf.left = works
	n.shelf.mu.Unlock()
	l, err := n.listen()
	fatal(n.t, err)
	fatal(n.t, n.m.Start(l))
	cmdtest.Eventually(n.t, "its disk fails, or it has all", 0, func() bool {
		n.shelf.mu.Lock()
		defer n.shelf.mu.Unlock()
		return n.shelf.fails || said != "" && n.lines.has(said)
	})
	n.kill()
}

// letIn has a fourth node let in that is dead by then.
func letIn(t *testing.T, nodes []*node) *node {
	t.Helper()
	fourth := stranger(t, nodes)
	fourth.kill()
	leader(t, nodes)
	do(t, func(ctx context.Context) error { return nodes[0].m.Add(ctx, "n4") })
	return fourth
}

// stranger starts a node that waits to be let in.
func stranger(t *testing.T, nodes []*node) *node {
	t.Helper()
	fourth := another(t, nodes, "n4")
	fourth.start()
	eventually(t, "it waits as a candidate", func() bool { return nodes[0].entry(fourth).State == "candidate" })
	return fourth
}

// runFour runs three nodes that found a cluster, and a fourth that is let in.
func runFour(t *testing.T) (all []*node, fourth *node) {
	t.Helper()
	nodes := run(t, 3)
	fourth = stranger(t, nodes)
	do(t, func(ctx context.Context) error { return nodes[0].m.Add(ctx, fourth.address) })
	all = append(nodes, fourth)
	eventually(t, "all are members", func() bool { return well(all) })
	return all, fourth
}

// leave kills the last node, and has the others take some things without it, so that it lacks what is kept nowhere any more.
func leave(t *testing.T, nodes []*node, things int, take func(rest []*node, i int)) (late *node, rest []*node) {
	t.Helper()
	late = nodes[len(nodes)-1]
	late.kill()
	rest = without(nodes, late)
	for i := range things {
		take(rest, i)
		for _, n := range rest {
			n.checkpoint()
			n.checkpoint()
		}
	}
	return late, rest
}

func startAll(nodes []*node) {
	for _, n := range nodes {
		n.start()
	}
}

// stop ends the process, if there is one, in good order.
func (n *node) stop() {
	if n.m != nil {
		n.m.Close()
		_ = n.log.Close()
	}
	n.m = nil
}

// kill ends it as kill -9 does: what is on the disk then is what was there at that moment.
func (n *node) kill() {
	n.m.stop()
	n.m.links.Close() // nothing that is done from here on is told to anybody
	left := n.shelf.copy()
	n.m.Close()
	_ = n.log.Close()
	n.m, n.shelf = nil, left
}

func (n *node) view() httpapi.Cluster { return n.m.View(n.t.Context()) }

// entry returns what this node's map says of another one.
func (n *node) entry(of *node) (found httpapi.ClusterNode) {
	for _, e := range n.view().Nodes {
		if e.Folder == of.folder() {
			return e
		}
	}
	return found
}

func (n *node) folder() string {
	n.shelf.mu.Lock()
	defer n.shelf.mu.Unlock()
	return n.shelf.man.Folder.String()
}

// eventually waits for something.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	cmdtest.Eventually(t, what, time.Minute, holds)
}

// well reports whether all are members of one cluster, linked, and one leads.
func well(nodes []*node) bool {
	leaders := map[string]bool{}
	for _, n := range nodes {
		v := n.view()
		if v.State != string(member) || v.Leader == "" {
			return false
		}
		for _, o := range nodes {
			if e := n.entry(o); !e.Linked || e.State != "member" {
				return false
			}
		}
		leaders[v.ID+v.Leader] = true
	}
	return len(leaders) == 1
}

// run founds a cluster of so many nodes.
func run(t *testing.T, count int, change ...func(*node)) []*node {
	t.Helper()
	nodes := newNodes(t, count)
	for _, n := range nodes {
		for _, c := range change {
			c(n)
		}
	}
	startAll(nodes)
	eventually(t, "all are members", func() bool { return well(nodes) })
	return nodes
}

// leader returns the node that leads.
func leader(t *testing.T, nodes []*node) (l *node) {
	t.Helper()
	eventually(t, "one leads", func() bool {
		for _, n := range nodes {
			if n.m != nil && n.entry(n).Leads {
				l = n
			}
		}
		return l != nil
	})
	return l
}

// without returns the others.
func without(nodes []*node, gone ...*node) []*node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return slices.Contains(gone, n) })
}

// sameMap waits until all have the map of the furthest, and checks that it is one.
func sameMap(t *testing.T, nodes []*node) string {
	t.Helper()
	text := func(n *node) (uint64, string) {
		n.m.mu.Lock()
		defer n.m.mu.Unlock()
		b, err := json.Marshal(n.m.state)
		fatal(t, err)
		return n.m.point.Index, string(b)
	}
	index := func(n *node) uint64 { i, _ := text(n); return i }
	eventually(t, "all have one index", func() bool {
		return !slices.ContainsFunc(nodes, func(n *node) bool { return index(n) != index(nodes[0]) })
	})
	at, want := text(nodes[0])
	for _, n := range nodes[1:] {
		if i, got := text(n); i == at && got != want {
			t.Errorf("at entry %d: %s has %s, and %s has %s", at, n.name, got, nodes[0].name, want)
		}
	}
	return want
}

// do has a command carried out, once one leads.
func do(t *testing.T, act func(context.Context) error) {
	t.Helper()
	var err error
	eventually(t, "a change of the map is made", func() bool {
		err = act(t.Context())
		return !errors.Is(err, ErrNotDone)
	})
	fatal(t, err)
}

func rules(replicas int) cluster.Command {
	return cluster.Command{Op: cluster.OpRules, Rules: []cluster.Rule{{Pattern: "orders.*", Replicas: replicas}}}
}
