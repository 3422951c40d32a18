package metrics

import (
	"time"

	"brokerd/admin/cluster"
	"brokerd/protocol/exposition"
	"brokerd/protocol/release"
)

// Snapshot is an admind at one moment.
type Snapshot struct {
	Version      string
	Began        time.Time
	View         *cluster.View
	Rounds       uint64 // of asking all daemons, since the start
	RoundTime    time.Duration
	Attention    int // what an operator should look at
	HistoryBytes int
}

// New returns the admind's metrics; snapshot is called at each scrape.
func New(snapshot func() Snapshot) *exposition.Set {
	f := newFamilies()
	return exposition.NewSet(f.all(), func(s *exposition.Scrape) { f.fill(s, snapshot()) })
}

// Families returns what an admind exports, for its documentation.
func Families() []*exposition.Family {
	f := newFamilies()
	return f.all()
}

type families struct {
	info, start, brokers, lookups, topics, channels, rounds, roundTime, viewAt, attention, history *exposition.Family
}

func newFamilies() *families {
	family := func(kind exposition.Kind, name, help string, labels ...string) *exposition.Family {
		return &exposition.Family{Name: "admind_" + name, Kind: kind, Help: help, Labels: labels}
	}
	gauge, counter := exposition.Gauge, exposition.Counter
	return &families{
		info:      family(gauge, "build_info", "always 1; its labels are the version of NSQ that is spoken, and the build's release, commit and Go", "version", "release", "commit", "go"),
		start:     family(gauge, "start_time_seconds", "when the admind was made, seconds since 1970"),
		brokers:   family(gauge, "brokers", "brokers that are known, by state: healthy, unhealthy (it answers that it cannot keep messages), or unreachable", "state"),
		lookups:   family(gauge, "lookups", "lookups that are asked, by state: healthy or unreachable", "state"),
		topics:    family(gauge, "topics", "topics of the whole cluster"),
		channels:  family(gauge, "channels", "channels of all brokers, each counted on each broker"),
		rounds:    family(counter, "rounds_total", "rounds of asking all daemons"),
		roundTime: family(counter, "rounds_seconds_total", "time that rounds of asking all daemons took"),
		viewAt:    family(gauge, "view_timestamp_seconds", "when the state of the cluster that is shown was made, seconds since 1970; absent before the first round"),
		attention: family(gauge, "attention_items", "things that an operator should look at, as the overview lists them"),
		history:   family(gauge, "history_bytes", "memory that the points of the last hours take"),
	}
}

func (f *families) all() []*exposition.Family {
	return []*exposition.Family{f.info, f.start, f.brokers, f.lookups, f.topics, f.channels, f.rounds, f.roundTime, f.viewAt, f.attention, f.history}
}

func (f *families) fill(s *exposition.Scrape, n Snapshot) {
	b := release.This()
	s.Value(f.info, 1, n.Version, b.Version, b.Commit, b.Go)
	s.Value(f.start, seconds(n.Began))
	brokers := map[string]int{"healthy": 0, "unhealthy": 0, "unreachable": 0}
	channels := 0
	for _, node := range n.View.Nodes {
		channels += node.Channels
		switch {
		case node.Stale:
			brokers["unreachable"]++
		case !node.Healthy():
			brokers["unhealthy"]++
		default:
			brokers["healthy"]++
		}
	}
	for state, count := range brokers {
		s.Value(f.brokers, float64(count), state)
	}
	lookups := map[string]int{"healthy": 0, "unreachable": 0}
	for i := range n.View.Lookups {
		if n.View.Lookups[i].Err != nil {
			lookups["unreachable"]++
		} else {
			lookups["healthy"]++
		}
	}
	for state, count := range lookups {
		s.Value(f.lookups, float64(count), state)
	}
	s.Value(f.topics, float64(len(n.View.Topics)))
	s.Value(f.channels, float64(channels))
	s.Value(f.rounds, float64(n.Rounds))
	s.Value(f.roundTime, n.RoundTime.Seconds())
	if !n.View.At.IsZero() {
		s.Value(f.viewAt, seconds(n.View.At))
	}
	s.Value(f.attention, float64(n.Attention))
	s.Value(f.history, float64(n.HistoryBytes))
}

// seconds returns a time in seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }
