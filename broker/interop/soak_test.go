package interop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// What the soak does: producers and consumers are spread evenly over topics, each of which has one channel.
const (
	soakProducers = 64
	soakConsumers = 64
	soakTopics    = 20
	soakPace      = 12800 * time.Microsecond // between two messages of a producer: 5,000 a second in all
)

// TestSoak runs as long as BROKERD_SOAK says, as 30m: stock producers at a bounded rate, stock consumers that finish all, some answers
// late. Nothing may be lost or come twice, and memory, goroutines and descriptors may not grow over the second half.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("BROKERD_SOAK"))
	if err != nil {
		t.Skip("NOT RUN: set BROKERD_SOAK to how long it is to take, as 30m")
	}
	b := newBroker(t, "brokerd", "brokerd", t.TempDir(), "--log-level=warn")
	b.Start(t)
	in := newTallies()
	var consumers []*nsq.Consumer
	for i := range soakConsumers {
		c := consume(t, soakTopic(i), "c", in)
		if err := c.ConnectToNSQD(b.TCP); err != nil {
			t.Fatal(err)
		}
		consumers = append(consumers, c)
	}
	var published atomic.Int64
	stop := make(chan struct{})
	var producing sync.WaitGroup
	for i := range soakProducers {
		p, err := newProducer(b.TCP)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop()
		producing.Go(func() { soakPublish(t, p, i, &published, stop) })
	}
	samples := watch(t, b, length)
	close(stop)
	producing.Wait()
	cmdtest.Eventually(t, "all that was published came", time.Minute, func() bool { n, _ := in.count(); return n == published.Load() })
	distinct, deliveries := in.count()
	t.Logf("%d messages published in %v, lost %d, repeated %d", published.Load(), length, published.Load()-distinct, deliveries-distinct)
	if deliveries != distinct {
		t.Errorf("%d deliveries of %d messages", deliveries, distinct)
	}
	for _, c := range consumers {
		leave(c)
	}
	judge(t, samples)
}

func soakTopic(i int) string { return fmt.Sprintf("soak-%02d", i%soakTopics) }

// soakPublish publishes numbered messages until it is told to stop.
func soakPublish(t *testing.T, p *nsq.Producer, producer int, published *atomic.Int64, stop <-chan struct{}) {
	tick := time.NewTicker(soakPace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		body := strconv.Itoa(producer) + ":" + strconv.Itoa(n) + strings.Repeat(".", 200)
		if err := p.Publish(soakTopic(producer), []byte(body)); err != nil {
			t.Errorf("publish: %v", err)
			return
		}
		published.Add(1)
	}
}

// tallies counts which messages came, each producer's by number: a bitmap needs little memory for many.
type tallies struct {
	mu         sync.Mutex
	seen       [soakProducers][]uint64
	distinct   int64
	deliveries int64
}

func newTallies() *tallies { return &tallies{} }

// HandleMessage notes m; go-nsq finishes it.
func (y *tallies) HandleMessage(m *nsq.Message) error {
	name, _, _ := strings.Cut(string(m.Body), ".")
	producer, number, _ := strings.Cut(name, ":")
	p, err := strconv.Atoi(producer)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	for len(y.seen[p]) <= n/64 {
		y.seen[p] = append(y.seen[p], 0)
	}
	y.deliveries++
	if bit := uint64(1) << (n % 64); y.seen[p][n/64]&bit == 0 {
		y.seen[p][n/64] |= bit
		y.distinct++
	}
	return nil
}

func (y *tallies) count() (distinct, deliveries int64) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.distinct, y.deliveries
}

// watched are the metrics that must not grow, and by how much of their mean a minute they may all the same.
var watched = map[string]float64{
	"process_resident_memory_bytes": 0.01,
	"go_goroutines":                 0.01,
	"process_open_fds":              0.01,
}

// sample is the watched metrics at one moment.
type sample struct {
	at     time.Duration
	values map[string]float64
}

// watch scrapes the broker until the time is over.
func watch(t *testing.T, b *cmdtest.Process, length time.Duration) (samples []sample) {
	began := time.Now()
	tick := time.NewTicker(max(length/120, time.Second))
	defer tick.Stop()
	for time.Since(began) < length {
		<-tick.C
		values := map[string]float64{}
		for line := range strings.Lines(scrape(t, b)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if _, wanted := watched[name]; wanted {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(err)
				}
				values[name] = v
			}
		}
		samples = append(samples, sample{time.Since(began), values})
	}
	return samples
}

// judge fits a line through the second half of the samples.
func judge(t *testing.T, samples []sample) {
	half := samples[len(samples)/2:]
	for name, allowed := range watched {
		var sx, sy, sxx, sxy, n float64
		for _, s := range half {
			x, y := s.at.Minutes(), s.values[name]
			sx, sy, sxx, sxy, n = sx+x, sy+y, sxx+x*x, sxy+x*y, n+1
		}
		slope, mean := (n*sxy-sx*sy)/(n*sxx-sx*sx), sy/n
		t.Logf("%-30s mean %.0f, slope %+.1f a minute (%+.2f %%), first %.0f, last %.0f", name, mean, slope, 100*slope/mean,
			samples[0].values[name], half[len(half)-1].values[name])
		if slope > allowed*mean {
			t.Errorf("%s grows by %.1f a minute", name, slope)
		}
	}
}
