package interop

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"brokerd/protocol/httpapi"

	"brokerd/cmd/cmdtest"
)

const topic, channel = "orders", "billing"

// cluster is some lookups and brokers, with one stock producer per broker, and one stock consumer that is told where the
// lookups are and nothing else.
type cluster struct {
	level            string // of our brokers' durability
	lookups, brokers []*cmdtest.Process
	streams          []*stream // by broker
	inbox            *inbox
	table            strings.Builder
	rows             *tabwriter.Writer // into table
}

// startCluster starts the daemons that are named, and the clients, and returns once messages of every broker arrive.
func startCluster(t *testing.T, level string, lookups, brokers []string) *cluster {
	t.Helper()
	c := &cluster{level: level, inbox: newInbox()}
	c.rows = tabwriter.NewWriter(&c.table, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(c.rows, "daemon\tended by\tdown\twhole again after\tpublished\trefused\treceived\ttwice\t")
	var lookupFlags, lookupAddresses []string
	for i, name := range lookups {
		d := cmdtest.NewLookup(t, name)
		d.Label = fmt.Sprintf("%s-%d", name, i+1)
		c.lookups = append(c.lookups, d)
		lookupFlags = append(lookupFlags, "--lookupd-tcp-address="+d.TCP)
		lookupAddresses = append(lookupAddresses, d.HTTP)
	}
	for i, name := range brokers {
		flags := append(atLevel(name, level, lookupFlags...), "--node-id="+strconv.Itoa(i+1))
		c.brokers = append(c.brokers, newBroker(t, name, fmt.Sprintf("%s-%d", name, i+1), t.TempDir(), flags...))
	}
	consumer := consume(t, topic, channel, c.inbox) // stopped after the daemons were looked for, before they are killed
	for _, d := range slices.Concat(c.lookups, c.brokers) {
		d.Start(t)
	}
	if err := consumer.ConnectToNSQLookupds(lookupAddresses); err != nil {
		t.Fatal(err)
	}
	for _, b := range c.brokers {
		c.streams = append(c.streams, publishTo(t, b.TCP, topic, b.Label))
	}
	c.awaitWhole(t)
	c.row("at the start", "", "", "")
	return c
}

// endAndStart ends a daemon, lets the others carry on without it, starts it again and waits for the cluster to be whole.
func (c *cluster) endAndStart(t *testing.T, d *cmdtest.Process, how string, end func(testing.TB)) {
	t.Helper()
	down := time.Now()
	end(t)
	c.awaitPublished(t, 200, d)
	d.Start(t)
	up := time.Now()
	c.awaitWhole(t)
	c.row(d.Label, how, up.Sub(down).Round(time.Millisecond).String(), time.Since(up).Round(time.Millisecond).String())
}

// awaitWhole returns once every lookup names every broker for the topic, and the consumer got messages of every broker that
// were published from now on.
func (c *cluster) awaitWhole(t *testing.T) {
	t.Helper()
	// nsqd notices only at its ping, every 15 seconds, that a lookup is another process than before; and go-nsq can take
	// 5 seconds to give a new connection its share of what it wants in flight.
	const within = 40 * time.Second
	for _, l := range c.lookups {
		cmdtest.Eventually(t, l.Label+" knows all brokers", within, func() bool { return c.knownTo(t, l) == len(c.brokers) })
	}
	c.awaitPublished(t, 20, nil)
	for _, s := range c.streams {
		last := s.body(s.acked.Load() - 1)
		cmdtest.Eventually(t, last+" arrives", within, func() bool { return c.inbox.has(last) })
	}
}

// knownTo returns how many of the brokers a lookup names for the topic.
func (c *cluster) knownTo(t *testing.T, l *cmdtest.Process) int {
	var found httpapi.Lookup
	if l.Ask(t, "/lookup?topic="+topic, &found) != nil {
		return 0 // not one, says 404
	}
	n := 0
	for _, b := range c.brokers {
		if slices.ContainsFunc(found.Producers, func(p httpapi.Producer) bool {
			return net.JoinHostPort(p.BroadcastAddress, strconv.Itoa(p.TCPPort)) == b.TCP
		}) {
			n++
		}
	}
	return n
}

// awaitPublished returns once every broker but one acknowledged n messages more.
func (c *cluster) awaitPublished(t *testing.T, n int64, but *cmdtest.Process) {
	t.Helper()
	for i, s := range c.streams {
		if c.brokers[i] == but {
			continue
		}
		goal := s.acked.Load() + n
		cmdtest.Eventually(t, s.label+" accepts messages", 20*time.Second, func() bool { return s.acked.Load() >= goal })
	}
}

// row adds a line to the table of what happened.
func (c *cluster) row(label, how, down, whole string) {
	var published, refused int64
	for _, s := range c.streams {
		published, refused = published+s.acked.Load(), refused+s.refused.Load()
	}
	bodies, deliveries := c.inbox.size()
	fmt.Fprintf(c.rows, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t\n", label, how, down, whole, published, refused,
		bodies, deliveries-bodies)
}

// shake ends each daemon in turn and starts it again, while messages are published: lookups by SIGKILL, for they keep nothing,
// brokers by SIGKILL unless they promise no more than memory, which is lost by definition when they are killed: those by
// SIGTERM. Then every acknowledged message must be there.
func (c *cluster) shake(t *testing.T) {
	t.Helper()
	for _, d := range c.lookups {
		c.endAndStart(t, d, "SIGKILL", d.Kill)
	}
	for _, d := range c.brokers {
		if c.level == "memory" {
			c.endAndStart(t, d, "SIGTERM", d.Stop)
		} else {
			c.endAndStart(t, d, "SIGKILL", d.Kill)
		}
	}
	for _, s := range c.streams {
		s.end()
	}
	for _, b := range c.brokers {
		cmdtest.Eventually(t, b.Label+" is empty", 20*time.Second, func() bool {
			f := b.Topic(t, topic)
			ch := cmdtest.ChannelOf(f, channel)
			return ch.ChannelName != "" && f.Depth+ch.Depth+int64(ch.InFlightCount+ch.DeferredCount) == 0
		})
	}
	c.row("at the end", "", "", "")
	c.rows.Flush()
	t.Logf("\n%s", &c.table)
	for _, s := range c.streams {
		var lost []string
		for number := range s.acked.Load() {
			if body := s.body(number); !c.inbox.has(body) {
				lost = append(lost, body)
			}
		}
		if len(lost) > 0 {
			t.Errorf("%d of %d messages to %s did not arrive, from %s to %s", len(lost), s.acked.Load(), s.label, lost[0], lost[len(lost)-1])
		}
	}
}

func TestClusterLosesNothingWhileDaemonsComeAndGo(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"memory", "disk"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			startCluster(t, level, []string{"lookupd", "lookupd"}, []string{"brokerd", "brokerd", "brokerd"}).shake(t)
		})
	}
}

func TestMixedClusterLosesNothing(t *testing.T) {
	t.Parallel()
	for _, mix := range []struct {
		name             string
		lookups, brokers []string
	}{
		{"nsqlookupd", []string{"lookupd", "nsqlookupd"}, []string{"brokerd", "brokerd", "brokerd"}},
		{"nsqd", []string{"lookupd", "lookupd"}, []string{"brokerd", "brokerd", "nsqd"}},
	} {
		t.Run(mix.name, func(t *testing.T) {
			t.Parallel()
			startCluster(t, "memory", mix.lookups, mix.brokers).shake(t)
		})
	}
}

// adminTopic is what an admin tells of a topic or channel, as far as it can be held against the brokers' own figures.
type adminTopic struct {
	Depth        int64        `json:"depth"`
	MessageCount uint64       `json:"message_count"`
	ChannelName  string       `json:"channel_name"`
	InFlight     int          `json:"in_flight_count"`
	Deferred     int          `json:"deferred_count"`
	Requeued     uint64       `json:"requeue_count"`
	TimedOut     uint64       `json:"timeout_count"`
	ClientCount  int          `json:"client_count"`
	Nodes        []struct{}   `json:"nodes"`
	Channels     []adminTopic `json:"channels"`
}

func TestNSQAdminCountsRightOverTheMix(t *testing.T) {
	t.Parallel()
	admin := cmdtest.NewAdmin(t, "nsqadmin")
	c := startCluster(t, "memory", []string{"lookupd", "nsqlookupd"}, []string{"brokerd", "nsqd", "brokerd"})
	for _, l := range c.lookups {
		admin.Args = append(admin.Args, "--lookupd-http-address="+l.HTTP)
	}
	admin.Start(t)
	c.shake(t)

	var nodes struct {
		Nodes []struct {
			TCPPort int `json:"tcp_port"`
		} `json:"nodes"`
	}
	admin.Get(t, "/api/nodes", &nodes)
	if len(nodes.Nodes) != len(c.brokers) {
		t.Errorf("nsqadmin shows %d nodes, wanted %d", len(nodes.Nodes), len(c.brokers))
	}
	want, wantChannel := adminTopic{}, adminTopic{ChannelName: channel}
	for _, b := range c.brokers {
		f := b.Topic(t, topic)
		ch := cmdtest.ChannelOf(f, channel)
		want.Depth, want.MessageCount = want.Depth+f.Depth, want.MessageCount+f.MessageCount
		wantChannel.Depth, wantChannel.MessageCount = wantChannel.Depth+ch.Depth, wantChannel.MessageCount+ch.MessageCount
		wantChannel.Requeued, wantChannel.TimedOut = wantChannel.Requeued+ch.RequeueCount, wantChannel.TimedOut+ch.TimeoutCount
		wantChannel.ClientCount += ch.ClientCount
	}
	var got adminTopic
	admin.Get(t, "/api/topics/"+topic, &got)
	if got.Depth != want.Depth || got.MessageCount != want.MessageCount || len(got.Nodes) != len(c.brokers) || len(got.Channels) != 1 {
		t.Fatalf("nsqadmin shows of the topic %+v, the brokers say %+v", got, want)
	}
	gotChannel := got.Channels[0]
	gotChannel.Nodes, gotChannel.Channels = nil, nil
	if fmt.Sprint(gotChannel) != fmt.Sprint(wantChannel) {
		t.Errorf("nsqadmin shows of the channel %+v, the brokers say %+v", gotChannel, wantChannel)
	}
}
