package admin_test

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/admin"
	"brokerd/admin/fakes"
	"brokerd/protocol/httpapi"
)

// trusting is a transport that trusts one authority.
func trusting(pem []byte) *http.Transport {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
}

// large is a cluster of brokers with copies of each topic, two channels each, of which one broker hangs, and an admind that knows it.
func large(t *testing.T, brokers, topics, copies int) (n *node, all []*fakes.Broker) {
	t.Helper()
	all = make([]*fakes.Broker, brokers)
	for i := range all {
		all[i] = fakes.NewBroker(t, fmt.Sprintf("host-%03d", i))
	}
	for i := range topics {
		topic := httpapi.Topic{TopicName: fmt.Sprintf("topic-%04d", i), Depth: 1, MessageCount: 100}
		for _, name := range []string{"archive", "billing"} {
			topic.Channels = append(topic.Channels, httpapi.Channel{ChannelName: name, Depth: 10, MessageCount: 100, ClientCount: 2,
				Clients: []httpapi.Client{{Hostname: "app", RemoteAddress: "10.0.0.1:1"}, {Hostname: "app", RemoteAddress: "10.0.0.2:2"}}})
		}
		for j := range copies {
			b := all[(i+j)%brokers]
			b.Stats.Topics = append(b.Stats.Topics, topic)
		}
	}
	l := fakes.NewLookup(t, all...)
	admin.Hurried(t)
	n = startAdmin(t, func(o *admin.Options) {
		o.LookupdHTTPAddresses, o.RefreshInterval, o.RequestTimeout = []string{l.Address()}, time.Second, time.Hour
	})
	n.get("/api/view/overview", new(struct{}))
	t.Cleanup(all[7].Hang())
	eventually(t, "one broker is missed", func() bool {
		_, body := n.ask("GET", "/api/view/overview", "")
		return strings.Contains(body, `"stale_nodes":1,`) && strings.Contains(body, fmt.Sprintf(`"topics":%d,`, topics))
	})
	return n, all
}

// times asks for every page and answer, and returns what the slowest request took in milliseconds; the first of each counts as the others do.
// nsqadmin's lists of all there is are not counted where they are tens of megabytes.
func times(n *node, all []*fakes.Broker) (slowest float64) {
	const bulk = 4 << 20
	rounds := 1
	if measured {
		rounds = 5
	}
	n.t.Helper()
	for _, path := range []string{
		"/api/search?q=topic-01", "/api/view/overview", "/api/view/topics", "/api/view/topic?topic=topic-0007",
		"/api/view/channel?topic=topic-0007&channel=billing", "/api/view/nodes", "/api/view/node?node=" + all[7].Address(),
		"/api/view/node?node=" + all[8].Address(), "/api/view/lookups", "/api/history?of=total", "/api/topics", "/api/topics/topic-0007",
		"/api/topics/topic-0007/billing", "/api/nodes", "/api/nodes/" + all[8].Address(), "/api/counter", "/api/view/consumers",
		"/api/search?q=app",
	} {
		var took []float64
		var size int
		for range rounds {
			began := time.Now()
			status, body := n.ask("GET", path, "")
			took = append(took, float64(time.Since(began).Microseconds())/1000)
			size = len(body)
			if status != 200 {
				n.t.Fatalf("%s: %d %s", path, status, body)
			}
		}
		n.t.Logf("%6.1f ms the first time, %6.1f at most, %5d KiB: %s", took[0], slices.Max(took), size>>10, path)
		if size < bulk {
			slowest = max(slowest, slices.Max(took))
		}
	}
	return slowest
}

// measured is whether figures are measured, alone on the machine.
var measured = os.Getenv("ADMIN_MEASURE") != ""

// TestLargeClusters: over 100 brokers with 400 topics, three copies and two channels each, every page and answer is there also while one broker
// hangs, which is never waited for; where it is measured alone, with 2,000 topics in 200 ms, the first time as well.
func TestLargeClusters(t *testing.T) {
	topics := 400
	if measured {
		topics = 2000
	}
	n, all := large(t, 100, topics, 3)
	if slowest := times(n, all); measured && slowest > 200 {
		t.Errorf("a request took %.0f ms", slowest)
	}
}

// processor returns how much of a processor's time this process has had.
func processor(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestEveryTopicOnEveryBroker logs what 100 brokers cost that have all of 2,000 topics each: 200,000 entries and 400,000 channels.
func TestEveryTopicOnEveryBroker(t *testing.T) {
	if !measured {
		t.Skip("NOT RUN: it takes a minute and 2 GB; set ADMIN_MEASURE=1 to have it measured")
	}
	n, all := large(t, 100, 2000, 100)
	slowest := times(n, all)
	const rounds = 4
	asked, began, busy := all[3].Asked(), time.Now(), processor(t)
	eventually(t, "rounds of asking", func() bool { return all[3].Asked() >= asked+rounds })
	t.Logf("a round of asking takes %.0f ms of a processor, with what the made-up brokers take; they are %.1f s apart",
		float64(processor(t)-busy)/rounds/1e6, time.Since(began).Seconds()/rounds)
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%d MB of heap, with what the made-up brokers take", mem.HeapAlloc>>20)
	if slowest > 200 {
		t.Errorf("a request took %.0f ms", slowest)
	}
}

// TestAHangingLookupIsNotWaitedFor: what it said last stands in until it is known to hang, and then the other's word is enough.
func TestAHangingLookupIsNotWaitedFor(t *testing.T) {
	b := fakes.NewBroker(t, "host")
	b.Stats.Topics = []httpapi.Topic{{TopicName: "orders", Channels: []httpapi.Channel{}}}
	one, other := fakes.NewLookup(t, b), fakes.NewLookup(t, b)
	admin.Hurried(t)
	n := startAdmin(t, func(o *admin.Options) {
		o.LookupdHTTPAddresses, o.RequestTimeout = []string{one.Address(), other.Address()}, time.Hour // a request that waits for it never ends
	})
	eventually(t, "the topic is known", func() bool {
		_, body := n.ask("GET", "/api/view/overview", "")
		return strings.Contains(body, `"topics":1,`)
	})
	t.Cleanup(other.Hang())
	for range 2 {
		for _, path := range []string{"/api/topics", "/api/nodes", "/api/nodes/" + b.Address()} {
			if status, body := n.ask("GET", path, ""); status != 200 || !strings.Contains(body, "orders") {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		eventually(t, "the lookup is missed", func() bool {
			_, body := n.ask("GET", "/api/view/overview", "")
			return strings.Contains(body, `"failing_lookups":1`)
		})
	}
}

// TestBytesOfARefresh: a refresh of the overview over 1,000 topics, 5,000 where it is measured, sends what changed only, when a tenth of them or all
// are busy.
func TestBytesOfARefresh(t *testing.T) {
	const refreshes, patience = 2, 50
	topics := 1000
	if measured {
		topics = 5000
	}
	for _, every := range []int{10, 1} {
		b := fakes.NewBroker(t, "host")
		b.Storage = &httpapi.Storage{FreeBytes: 1 << 40, TotalBytes: 1 << 41}
		for i := range topics {
			b.Stats.Topics = append(b.Stats.Topics, httpapi.Topic{TopicName: fmt.Sprintf("team-%02d.service-%04d", i%40, i), MessageCount: 1000,
				Channels: []httpapi.Channel{{ChannelName: "archive", MessageCount: 1000}}})
		}
		l := fakes.NewLookup(t, b)
		n := startAdmin(t, func(o *admin.Options) { o.LookupdHTTPAddresses = []string{l.Address()} })
		req, err := http.NewRequestWithContext(t.Context(), "GET", strings.TrimSuffix(n.URL(), "/")+"/api/events?view=overview", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := n.http.Transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		read := &counted{r: resp.Body}
		text, err := gzip.NewReader(read)
		if err != nil {
			t.Fatal(err)
		}
		events := bufio.NewReaderSize(text, 16<<20)
		plain, least, views, first, seen := 0, 64<<20, 0, 0, 0
		limit := topics * 160 / min(every, 4)
		for seen <= refreshes || least > limit && seen < patience { // one that a busy machine has late has more to tell
			line, err := events.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(line, `data: {"reset"`) {
				views = max(views, len(line)) // how often it comes depends on how fast the machine is
				continue
			}
			plain += len(line)
			if least = min(least, len(line)); seen == 0 {
				least = 64 << 20 // that is everything
			}
			if seen++; seen == 1 {
				t.Logf("at first %d KiB, %d in gzip", plain>>10, read.n>>10)
				plain, first = 0, read.n
			}
			b.Change(func(b *fakes.Broker) {
				for i := 0; i < topics; i += every {
					b.Stats.Topics[i].MessageCount += uint64(100 + i*7%90)
					b.Stats.Topics[i].Channels = []httpapi.Channel{{ChannelName: "archive", MessageCount: b.Stats.Topics[i].MessageCount, Depth: int64(i*seen) % 50}}
				}
			})
		}
		if least > limit {
			t.Errorf("of %d refreshes the smallest is %d bytes", seen-1, least)
		}
		if limit := 64 << 10; views > limit {
			t.Errorf("the rest of the page is %d bytes", views)
		}
		t.Logf("one in %d busy: a refresh is %d KiB and %d of the rest, %d in gzip", every, plain/(seen-1)>>10, views>>10, (read.n-first)/(seen-1)>>10)
	}
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}
