package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/protocol/httpapi"
)

// View is the cluster at one moment. Nobody changes it once it is out. All lists are sorted: topics and channels by name,
// nodes by host name and name.
type View struct {
	Seq     uint64    // grows by one with each View; 0 before the first round
	At      time.Time // when it was made
	Lookups []Lookup
	Nodes   []*Node
	Topics  []*Topic
	Sum     Figures // of all topics

	topics map[string]*Topic
	nodes  map[string]*Node
}

// Figures are added up over channels, topics and nodes. Rates are per second; those of stale nodes count as 0, and so do their clients.
type Figures struct {
	Depth, BackendDepth                                 int64
	InFlight, Deferred, Clients                         int
	MessageCount, RequeueCount, TimeoutCount            uint64
	RateIn, RateOut, RequeueRate, TimeoutRate           float64
	ZoneLocalCount, RegionLocalCount, GlobalCountOfMsgs uint64
}

// Lookup is one lookup.
type Lookup struct {
	Address, Version string
	At               time.Time // of the last good answer; zero when there was none
	Err              error     // why there is none of this moment
	Nodes            []httpapi.Node
	Topics           []string
}

// Node is one broker.
type Node struct {
	httpapi.Producer
	ID         string // broadcast address and HTTP port: how users call it
	Address    string // that is asked
	Known      bool   // there was a good answer
	At         time.Time
	Err        error // why there is no answer of this moment; nil also while the first is awaited
	Late       bool  // the last round went on without its answer
	Stale      bool  // the figures are not those of now, or there are none
	Gone       bool  // no lookup names it any more
	Health     string
	SetAside   int   // files of its data folder that are damaged, or that nobody knows
	Started    int64 // seconds since the Unix epoch
	Storage    *httpapi.Storage
	IsBroker   bool // it is brokerd, not nsqd
	OutOfDate  bool
	Lookups    []string // that name it
	Remotes    []string // lookup address/remote address of the registration
	Tombstoned []string // topics that every lookup which tells of them hides
	Topics     []*NodeTopic
	Sum        Figures
	Channels   int
}

// Healthy reports whether the broker says that it can keep messages.
func (n *Node) Healthy() bool { return n.Health == "" || n.Health == "OK" }

// Topic returns what the node has of a topic, nil for nothing.
func (n *Node) Topic(name string) *NodeTopic {
	i, ok := slices.BinarySearchFunc(n.Topics, name, func(t *NodeTopic, name string) int { return strings.Compare(t.TopicName, name) })
	if !ok {
		return nil
	}
	return n.Topics[i]
}

// NodeTopic is one topic on one node.
type NodeTopic struct {
	*httpapi.Topic
	RateIn   float64
	Channels []NodeChannel // of Topic.Channels, with rates
}

// Channel returns one channel, nil when there is none of that name.
func (t *NodeTopic) Channel(name string) *NodeChannel {
	i, ok := slices.BinarySearchFunc(t.Channels, name, func(c NodeChannel, name string) int { return strings.Compare(c.ChannelName, name) })
	if !ok {
		return nil
	}
	return &t.Channels[i]
}

// NodeChannel is one channel on one node.
type NodeChannel struct {
	*httpapi.Channel
	RateIn, RateOut, RequeueRate, TimeoutRate float64
}

// Figures returns the channel's figures; neither rates nor clients when stale.
func (c *NodeChannel) Figures(stale bool) Figures {
	f := Figures{
		Depth: c.Depth, BackendDepth: c.BackendDepth, InFlight: c.InFlightCount, Deferred: c.DeferredCount, Clients: c.ClientCount,
		MessageCount: c.MessageCount, RequeueCount: c.RequeueCount, TimeoutCount: c.TimeoutCount,
		ZoneLocalCount: c.ZoneLocalMsgCount, RegionLocalCount: c.RegionLocalMsgCount, GlobalCountOfMsgs: c.GlobalMsgCount,
	}
	if stale {
		f.Clients = 0 // who was connected to a broker that is gone no longer is
	} else {
		f.RateIn, f.RateOut, f.RequeueRate, f.TimeoutRate = c.RateIn, c.RateOut, c.RequeueRate, c.TimeoutRate
	}
	return f
}

// Topic is one topic over all nodes.
type Topic struct {
	Name     string
	Sum      Figures // of the topic's own queues and its channels; MessageCount and RateIn are the topic's
	Own      Figures // of the topic's own queues
	Bytes    uint64  // of bodies
	Paused   bool    // on some node
	Stale    bool    // some node that has it is
	On       []NodeTopicRef
	Channels []*Channel
}

// Down reports whether nothing is known of the topic's state of now: no node that has it answers. A topic without a node has none to be
// known.
func (t *Topic) Down() bool {
	for _, on := range t.On {
		if !on.Node.Stale {
			return false
		}
	}
	return len(t.On) > 0
}

// Slowest returns the channel that is the furthest behind: on which the most messages wait, and of those the one that finishes the fewest. It
// decides how well the topic is consumed, as each channel gets every message. nil when there is no channel.
func (t *Topic) Slowest() *Channel {
	var slowest *Channel
	for _, c := range t.Channels {
		if slowest == nil || c.Sum.Depth > slowest.Sum.Depth || c.Sum.Depth == slowest.Sum.Depth && c.Sum.RateOut < slowest.Sum.RateOut {
			slowest = c
		}
	}
	return slowest
}

// NodeTopicRef is a topic with the node that it is on.
type NodeTopicRef struct {
	Node *Node
	*NodeTopic
}

// Channel is one channel over all nodes.
type Channel struct {
	Name   string
	Sum    Figures
	Paused bool
	On     []NodeChannelRef
}

// NodeChannelRef is a channel with the node that it is on.
type NodeChannelRef struct {
	Node *Node
	*NodeChannel
}

// Topic returns a topic, nil when there is none of that name.
func (v *View) Topic(name string) *Topic { return v.topics[name] }

// Node returns a node by its ID or by the address that is asked, nil when there is none.
func (v *View) Node(name string) *Node { return v.nodes[name] }

// Channel returns one channel, nil when there is none of that name.
func (t *Topic) Channel(name string) *Channel {
	i, ok := slices.BinarySearchFunc(t.Channels, name, func(c *Channel, name string) int { return strings.Compare(c.Name, name) })
	if !ok {
		return nil
	}
	return t.Channels[i]
}

// collectLocked copies the daemons' states; add does the rest, without the lock.
func (c *Cluster) collectLocked(now time.Time) *View {
	v := &View{At: now}
	remotes, lookups, hidden := map[string][]string{}, map[string][]string{}, map[string]map[string]bool{}
	for _, l := range c.lists {
		err := l.err
		if err == nil && l.pending && now.Sub(l.since) >= c.cfg.Round {
			err = errLate(now.Sub(l.since))
		}
		v.Lookups = append(v.Lookups, Lookup{l.address, l.version, l.at, err, l.nodes, l.topics})
		for _, n := range l.nodes {
			address := n.HTTPAddress()
			remotes[address] = append(remotes[address], l.address+"/"+n.RemoteAddress)
			lookups[address] = append(lookups[address], l.address)
			for i, t := range n.Topics {
				if hidden[address] == nil {
					hidden[address] = map[string]bool{}
				}
				before, told := hidden[address][t]
				hidden[address][t] = i < len(n.Tombstones) && n.Tombstones[i] && (before || !told)
			}
		}
	}
	for _, b := range c.nodes {
		if b.dismissed {
			continue
		}
		n := b.node(now, 2*c.cfg.Round)
		_, n.Gone = c.gone[b]
		n.Remotes, n.Lookups = remotes[b.address], lookups[b.address]
		for topic, is := range hidden[b.address] {
			if is {
				n.Tombstoned = append(n.Tombstoned, topic)
			}
		}
		slices.Sort(n.Tombstoned)
		v.Nodes = append(v.Nodes, n)
	}
	return v
}

// node returns the broker as it is known at now. Its figures count as stale once a question has lain with it for hungAfter.
func (b *broker) node(now time.Time, hungAfter time.Duration) *Node {
	n := &Node{
		Producer: b.info, ID: b.id(), Address: b.address, Known: b.answer != nil, At: b.at, Err: b.err,
		Storage: b.storage, IsBroker: b.storage != nil,
	}
	n.Late = b.pending
	n.Stale = b.answer == nil || b.err != nil || b.pending && now.Sub(b.since) >= hungAfter
	if n.Stale && n.Late && n.Err == nil {
		n.Err = errLate(now.Sub(b.since))
	}
	if b.answer != nil {
		n.Health, n.Started, n.Topics = b.answer.health, b.answer.started, b.answer.topics
		n.SetAside = b.answer.aside
		n.Version = cmp.Or(b.answer.version, n.Version)
	}
	return n
}

// MayDismiss reports whether an operator may say that the broker is not coming back: nothing but the past speaks for it.
func (n *Node) MayDismiss() bool { return (n.Stale || n.Gone) && (n.Known || n.Err != nil) }

// errLate is the error of a daemon that has let a question lie for so long.
type errLate time.Duration

func (e errLate) Error() string {
	return "no answer for " + strconv.FormatFloat(time.Duration(e).Seconds(), 'f', 1, 64) + " s"
}

// add sorts the nodes and adds their figures up.
func (v *View) add() {
	slices.SortFunc(v.Nodes, func(a, b *Node) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.ID, b.ID))
	})
	v.settleLeads()
	v.topics, v.nodes = map[string]*Topic{}, map[string]*Node{}
	channels := map[[2]string]*Channel{}
	for _, n := range v.Nodes {
		v.nodes[n.Address] = n
	}
	for _, n := range v.Nodes {
		v.nodes[n.ID] = n
		for _, nt := range n.Topics {
			v.addTopic(n, nt, channels)
		}
	}
	for _, l := range v.Lookups {
		for _, name := range l.Topics {
			v.topic(name)
		}
	}
	v.Topics = slices.SortedFunc(maps.Values(v.topics), func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range v.Topics {
		slices.SortFunc(t.Channels, func(a, b *Channel) int { return strings.Compare(a.Name, b.Name) })
		v.Sum.Add(t.Sum)
	}
	markOutOfDate(v.Nodes)
}

// topic returns the topic of a name, new when there was none.
func (v *View) topic(name string) *Topic {
	t := v.topics[name]
	if t == nil {
		t = &Topic{Name: name}
		v.topics[name] = t
	}
	return t
}

// addTopic adds what one node has of a topic to the topic, its channels and the node.
func (v *View) addTopic(n *Node, nt *NodeTopic, channels map[[2]string]*Channel) {
	t := v.topic(nt.TopicName)
	own := Figures{Depth: nt.Depth, BackendDepth: nt.BackendDepth, MessageCount: nt.MessageCount}
	if !n.Stale {
		own.RateIn = nt.RateIn
	}
	sum := own
	for i := range nt.Channels {
		nc := &nt.Channels[i]
		f := nc.Figures(n.Stale)
		key := [2]string{nt.TopicName, nc.ChannelName}
		ch := channels[key]
		if ch == nil {
			ch = &Channel{Name: nc.ChannelName}
			channels[key] = ch
			t.Channels = append(t.Channels, ch)
		}
		ch.Sum.Add(f)
		ch.Paused = ch.Paused || nc.Paused
		ch.On = append(ch.On, NodeChannelRef{n, nc})
		f.MessageCount, f.RateIn = 0, 0 // a channel's are copies of the topic's
		sum.Add(f)
	}
	t.Own.Add(own)
	t.Sum.Add(sum)
	n.Sum.Add(sum)
	n.Channels += len(nt.Channels)
	t.Bytes += nt.MessageBytes
	t.Paused, t.Stale = t.Paused || nt.Paused, t.Stale || n.Stale
	t.On = append(t.On, NodeTopicRef{n, nt})
}

// Add adds other to f.
func (f *Figures) Add(other Figures) {
	f.Depth += other.Depth
	f.BackendDepth += other.BackendDepth
	f.InFlight += other.InFlight
	f.Deferred += other.Deferred
	f.Clients += other.Clients
	f.MessageCount += other.MessageCount
	f.RequeueCount += other.RequeueCount
	f.TimeoutCount += other.TimeoutCount
	f.RateIn += other.RateIn
	f.RateOut += other.RateOut
	f.RequeueRate += other.RequeueRate
	f.TimeoutRate += other.TimeoutRate
	f.ZoneLocalCount += other.ZoneLocalCount
	f.RegionLocalCount += other.RegionLocalCount
	f.GlobalCountOfMsgs += other.GlobalCountOfMsgs
}

// markOutOfDate marks the nodes whose version is lower than the highest.
func markOutOfDate(nodes []*Node) {
	var highest [3]int
	for _, n := range nodes {
		if v := ParseVersion(n.Version); slices.Compare(v[:], highest[:]) > 0 {
			highest = v
		}
	}
	for _, n := range nodes {
		v := ParseVersion(n.Version)
		n.OutOfDate = slices.Compare(v[:], highest[:]) < 0
	}
}

// ParseVersion reads major.minor.patch and drops what follows, as in 1.3.0-rc1. What is no version is 0.0.0.
func ParseVersion(text string) (version [3]int) {
	text, _, _ = strings.Cut(text, "-")
	parts := strings.Split(text, ".")
	if len(parts) != len(version) {
		return version
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return [3]int{}
		}
		version[i] = n
	}
	return version
}
