package load

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"
)

// Result is what came of a load. Parts that do not belong to its kind, or could not be known, are nil or zero.
type Result struct {
	Kind        Kind     `json:"kind"`
	Interrupted bool     `json:"interrupted,omitempty"` // ended before its time: the counts are those so far, nothing is called lost
	Seconds     float64  `json:"seconds"`               // of what was measured
	Messages    int64    `json:"messages"`              // in these seconds: published, or consumed where there are consumers
	PerSecond   float64  `json:"messages_per_second"`
	MBPerSecond float64  `json:"megabytes_per_second"`       // of bodies
	Ack         *Latency `json:"acknowledgement,omitempty"`  // from when a publish was to be sent to its answer
	Latency     *Latency `json:"latency,omitempty"`          // from when a message was to be sent to its arrival
	Lateness    *Latency `json:"lateness,omitempty"`         // from when a deferred message was due to its arrival
	Lag         *Latency `json:"generator_lag,omitempty"`    // from when a publish was to be sent to when it was, with a rate
	Share       *Share   `json:"per_consumer,omitempty"`     // how evenly the consumers of a channel were served
	Fill        *Result  `json:"fill,omitempty"`             // the publishing before the consuming
	Broker      *Usage   `json:"broker,omitempty"`           // what it took
	Counts      Counts   `json:"counts"`                     // what was sent and what came
	Each        float64  `json:"bytes_each,omitempty"`       // by which memory grew for each topic, connection or held message
	IdlePercent *float64 `json:"idle_cpu_percent,omitempty"` // of one core, while nothing happened
	SetupPerSec float64  `json:"setup_per_second,omitempty"` // topics made or connections opened
	Notes       []string `json:"notes,omitempty"`            // what a reader must know
}

// Latency holds quantiles in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// Share says how the work of one channel was shared.
type Share struct {
	Consumers int     `json:"consumers"`
	Min       int64   `json:"min"`
	Max       int64   `json:"max"`
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"standard_deviation"`
}

// Spread returns how far the busiest or the idlest consumer is from the mean, as a share of it: 0.2 is 20 %.
func (s *Share) Spread() float64 {
	if s.Mean == 0 {
		return 0
	}
	return math.Max(float64(s.Max)-s.Mean, s.Mean-float64(s.Min)) / s.Mean
}

// shareOf sums up what each consumer got.
func shareOf(counts []int64) *Share {
	s := &Share{Consumers: len(counts), Min: math.MaxInt64}
	for _, n := range counts {
		s.Min, s.Max = min(s.Min, n), max(s.Max, n)
		s.Mean += float64(n) / float64(len(counts))
	}
	for _, n := range counts {
		s.Deviation += (float64(n) - s.Mean) * (float64(n) - s.Mean) / float64(len(counts))
	}
	s.Deviation = math.Sqrt(s.Deviation)
	return s
}

// Counts is what was sent and what came. With several channels a message is expected in each.
type Counts struct {
	Sent        int64            `json:"sent"`                // messages written
	Acked       int64            `json:"acknowledged"`        // of them
	Expected    int64            `json:"expected"`            // deliveries of acknowledged messages; 0 when nobody consumed
	Received    int64            `json:"received"`            // of them, each counted once
	Lost        int64            `json:"lost"`                // of them
	Duplicated  int64            `json:"duplicated"`          // deliveries of a message that had come before
	Redelivered int64            `json:"redelivered"`         // deliveries that the broker said were not the first attempt
	Foreign     int64            `json:"foreign"`             // deliveries of messages that are not of this run
	ByBroker    *int64           `json:"by_broker,omitempty"` // messages that the broker counts in the topics
	Errors      map[string]int64 `json:"errors,omitempty"`    // by text: error frames and broken connections
}

// Problems returns a line for everything that is not as it must be.
func (r *Result) Problems() []string {
	c, list := r.Counts, []string(nil)
	tell := func(n int64, format string) {
		if n != 0 {
			list = append(list, fmt.Sprintf(format, n))
		}
	}
	tell(c.Lost, "%d messages were LOST: acknowledged, and not delivered")
	tell(c.Duplicated, "%d deliveries were DUPLICATES")
	tell(c.Foreign, "%d deliveries were not of this run, or their bodies were changed")
	if !r.Interrupted && c.ByBroker != nil && *c.ByBroker != c.Acked {
		list = append(list, fmt.Sprintf("the broker counts %d messages where %d were acknowledged", *c.ByBroker, c.Acked))
	}
	var texts []string
	for text, n := range c.Errors {
		texts = append(texts, fmt.Sprintf("%d times: %s", n, text))
	}
	sort.Strings(texts)
	if r.Fill != nil {
		for _, problem := range r.Fill.Problems() {
			list = append(list, "while filling: "+problem)
		}
	}
	return append(list, texts...)
}

// note adds a sentence for the reader.
func (r *Result) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !strings.Contains(strings.Join(r.Notes, "\n"), text) {
		r.Notes = append(r.Notes, text)
	}
}

// rate notes how many messages there were in which time.
func (r *Result) rate(messages int64, d time.Duration, size int) {
	r.Messages, r.Seconds = messages, d.Seconds()
	if d > 0 {
		r.PerSecond = float64(messages) / d.Seconds()
		r.MBPerSecond = r.PerSecond * float64(size) / 1e6
	}
}
