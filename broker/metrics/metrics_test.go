package metrics

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/protocol/exposition"
)

// scrape returns the values of one scrape, by name with labels.
func scrape(t *testing.T, set *exposition.Set) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	set.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	body, _ := io.ReadAll(w.Result().Body)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, body)
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		if line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		values[line[:at]] = v
	}
	return values
}

// world is the topics that snapshots tell of.
type world struct {
	topics map[string]*topic.Stats
	births uint64
}

func (w *world) add(name string) *topic.Stats {
	w.births++
	s := &topic.Stats{Name: name, Born: w.births, Channels: []topic.ChannelStats{{Name: "c", Born: w.births, Balanced: true}}}
	w.topics[name] = s
	return s
}

func (w *world) snapshot() Snapshot {
	s := Snapshot{Version: "1"}
	for i := range 100 {
		if t := w.topics[fmt.Sprintf("t%02d", i)]; t != nil {
			s.Topics = append(s.Topics, *t)
		}
	}
	return s
}

func publish(t *topic.Stats, n uint64) {
	t.MessageCount += n
	t.Channels[0].MessageCount += n
	t.Channels[0].Counts.Finished += n
	t.Counts.Discarded[journal.Expired] += n
	t.Channels[0].Delivered.Counts[1] += n
}

// TestNoCounterEverFallsWhileTopicsComeAndGo: those of the sum neither, when a topic of it is deleted and made anew, and no
// message is in the sum and in a series of its own.
func TestNoCounterEverFallsWhileTopicsComeAndGo(t *testing.T) {
	w := &world{topics: map[string]*topic.Stats{}}
	set := New(Config{Snapshot: w.snapshot, MaxTopics: 2})
	published := uint64(0)
	last := map[string]float64{}
	check := func(step string) {
		t.Helper()
		now := scrape(t, set)
		for name, v := range now {
			if strings.HasPrefix(name, "brokerd_") && (strings.Contains(name, "_total") || strings.Contains(name, "_count")) && v < last[name] {
				t.Errorf("%s: %s fell from %v to %v", step, name, last[name], v)
			}
		}
		last = now
	}
	for i := 10; i < 15; i++ {
		publish(w.add(fmt.Sprintf("t%02d", i)), 5)
		published += 5
	}
	check("five topics")
	sum := `brokerd_topic_messages_total{topic=""}`
	if last[sum] != 15 || last[`brokerd_topic_messages_total{topic="t10"}`] != 5 || last["brokerd_topics_in_sum"] != 3 {
		t.Errorf("the sum of three has %v, t10 has %v", last[sum], last[`brokerd_topic_messages_total{topic="t10"}`])
	}
	publish(w.add("t01"), 7) // sorts before the others
	check("an earlier name")
	if last[sum] != 22 {
		t.Errorf("the sum has %v after a topic came to it", last[sum])
	}
	delete(w.topics, "t12")
	check("one of the sum is deleted")
	publish(w.add("t12"), 1)
	check("and made anew")
	if last[sum] != 23 {
		t.Errorf("the sum has %v after a topic of it was made anew", last[sum])
	}
	delete(w.topics, "t10")
	check("one of its own is deleted")
	if _, there := last[`brokerd_topic_messages_total{topic="t11"}`]; !there || last[sum] != 23 {
		t.Errorf("the sum has %v: a topic left it", last[sum])
	}
	publish(w.add("t99"), 3)
	check("a new one takes the free place")
	if last[`brokerd_topic_messages_total{topic="t99"}`] != 3 {
		t.Error("the free place is not used")
	}
	for name := range w.topics {
		delete(w.topics, name)
	}
	check("all are gone")
	if last[sum] != 23 || last[`brokerd_channel_finished_messages_total{channel="",topic=""}`] != 23 ||
		last[`brokerd_topic_discarded_messages_total{reason="expired",topic=""}`] != 23 {
		t.Errorf("the sum has %v when all are gone", last[sum])
	}
}

// TestScrapeOfALargeBrokerIsQuick: 10,000 topics with 30,000 channels, each of them busy, are answered with the series of a
// thousand topics. What it costs is counted in allocations, which do not depend on the machine.
func TestScrapeOfALargeBrokerIsQuick(t *testing.T) {
	var all []topic.Stats
	for i := range 10000 {
		s := topic.Stats{Name: fmt.Sprintf("topic-%05d", i), Born: uint64(4 * i)}
		for c := range 3 {
			ch := topic.ChannelStats{Name: fmt.Sprintf("channel-%d", c), Born: uint64(4*i + c), Depth: 1, OldestAt: time.Now().UnixNano()}
			ch.Delivered.Counts[2], ch.Finished.Counts[3] = 1, 1
			s.Channels = append(s.Channels, ch)
		}
		all = append(all, s)
	}
	set := New(Config{Snapshot: func() Snapshot { return Snapshot{Topics: all} }, MaxTopics: 1000})
	began := time.Now()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	values := scrape(t, set)
	runtime.ReadMemStats(&after)
	t.Logf("%d series in %v, %d allocations", len(values), time.Since(began), after.Mallocs-before.Mallocs)
	topics := 0
	for name := range values {
		if strings.HasPrefix(name, "brokerd_topic_messages_total{") {
			topics++
		}
		if strings.Contains(name, "client") || strings.Contains(name, "remote") {
			t.Errorf("%s is of one connection", name)
		}
	}
	if topics != 1001 || values["brokerd_topics"] != 10000 || values["brokerd_channels"] != 30000 {
		t.Errorf("%d series of topics, %v topics, %v channels", topics, values["brokerd_topics"], values["brokerd_channels"])
	}
	if got := values[`brokerd_channel_waiting_messages{channel="",topic=""}`]; got != 27000 {
		t.Errorf("%v messages wait in the sum", got)
	}
	if n := after.Mallocs - before.Mallocs; n > 5_000_000 {
		t.Errorf("%d allocations", n)
	}
}

// TestEveryFamilyCanBeShown: names, help and labels are such that the library and Prometheus take them.
func TestEveryFamilyCanBeShown(t *testing.T) {
	w := &world{topics: map[string]*topic.Stats{}}
	publish(w.add("t10"), 1)
	w.topics["t10"].Channels[0].Counts.Discarded[0] = 1
	w.topics["t10"].Counts.Discarded[0] = 1
	w.topics["t10"].Channels[0].Finished.Counts[0] = 1
	w.topics["t10"].Channels[0].Ahead.Day = 1
	w.topics["t10"].Channels[0].Replaying = 1
	set := New(Config{MaxTopics: 10, Snapshot: func() Snapshot {
		s := w.snapshot()
		s.Refused, s.Lookups = map[string]uint64{"E_INVALID": 1}, []Lookup{{Address: "a:1"}}
		s.Disk, s.Certificate = Disk{Total: 1, Free: 1, MinFree: 1}, time.Now()
		s.Log = &Log{CheckpointAt: time.Now()}
		s.Cluster = &Cluster{State: "member", Leads: true, Members: 3, Groups: []Group{{Number: 1, Leads: true}}}
		return s
	}})
	values := scrape(t, set)
	for _, f := range Families() {
		found := false
		for name := range values {
			base, _, _ := strings.Cut(name, "{")
			found = found || base == f.Name || f.Kind == exposition.Histogram && base == f.Name+"_count"
		}
		if !found {
			t.Errorf("%s is not shown", f.Name)
		}
		if strings.HasSuffix(f.Name, "_total") != (f.Kind == exposition.Counter) {
			t.Errorf("%s is a %s: counters, and only they, end in _total", f.Name, f.Kind)
		}
	}
}
