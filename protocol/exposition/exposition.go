package exposition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Kind is what a family's values are.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter" // only grows while the process lives
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Family is one metric under its name. Its values differ in their labels.
type Family struct {
	Name   string // with the daemon's prefix and, at its end, the base unit
	Kind   Kind
	Help   string
	Labels []string

	desc *prometheus.Desc
}

// Set is the families of one daemon.
type Set struct {
	families []*Family
	fill     func(*Scrape)
	registry *prometheus.Registry
}

// NewSet returns a set of families, none of which may be in another set. fill is called at each scrape, by several goroutines when
// there are several scrapes.
func NewSet(families []*Family, fill func(*Scrape)) *Set {
	s := &Set{families: families, fill: fill, registry: prometheus.NewPedanticRegistry()}
	for _, f := range families {
		f.desc = prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
	}
	s.registry.MustRegister(collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

// Handler answers GET /metrics in the format that the scraper asks for. A family that cannot be shown is left out and logged.
func (s *Set) Handler(log *slog.Logger) http.Handler {
	show := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: errorLog{log}, MaxRequestsInFlight: maxScrapes,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { show.ServeHTTP(scraper{w}, r) })
}

// scraper marks errors as those of a scraper that has left.
type scraper struct{ http.ResponseWriter }

func (s scraper) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p)
	if err != nil {
		err = leftError{err}
	}
	return n, err
}

// Unwrap returns what a http.ResponseController acts on.
func (s scraper) Unwrap() http.ResponseWriter { return s.ResponseWriter }

type leftError struct{ error }

// maxScrapes is how many scrapes are answered at once: each holds the whole text in memory.
const maxScrapes = 4

type errorLog struct{ log *slog.Logger }

// Println writes what the library says: of the daemon's own mistakes at level ERROR, and of scrapers that leave, as often as strangers like, at DEBUG.
func (l errorLog) Println(v ...any) {
	level := slog.LevelError
	if slices.ContainsFunc(v, func(one any) bool { err, _ := one.(error); return errors.As(err, new(leftError)) }) {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "metrics", "error", strings.TrimSpace(fmt.Sprintln(v...)))
}

// collector is the set as the library sees it.
type collector struct{ s *Set }

func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range c.s.families {
		out <- f.desc
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) { c.s.fill(&Scrape{out}) }

// Scrape takes the values of one scrape.
type Scrape struct{ out chan<- prometheus.Metric }

// Value adds a value of a counter or gauge. The labels' values stand in the order of Family.Labels.
func (s *Scrape) Value(f *Family, value float64, labels ...string) {
	kind := prometheus.GaugeValue
	if f.Kind == Counter {
		kind = prometheus.CounterValue
	}
	s.add(prometheus.NewConstMetric(f.desc, kind, value, labels...))
}

// Bool adds a gauge that is 1 when something is so, and 0 otherwise.
func (s *Scrape) Bool(f *Family, is bool, labels ...string) {
	value := 0.0
	if is {
		value = 1
	}
	s.Value(f, value, labels...)
}

// Histogram adds the values of a histogram: how many observations each bound takes in, those of lower bounds with them, and the
// number and the sum of all.
func (s *Scrape) Histogram(f *Family, count uint64, sum float64, upTo map[float64]uint64, labels ...string) {
	s.add(prometheus.NewConstHistogram(f.desc, count, sum, upTo, labels...))
}

// add hands a metric on. One that cannot be made, as its labels are too many or no UTF-8, is a mistake of the daemon's; the library
// reports it with the others.
func (s *Scrape) add(m prometheus.Metric, err error) {
	if err != nil {
		m = prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
	}
	s.out <- m
}

// Table returns the families as the rows of a Markdown table, in order of their names.
func Table(families []*Family) string {
	var b strings.Builder
	b.WriteString("| name | kind | labels | what it is |\n|---|---|---|---|\n")
	for _, f := range slices.SortedFunc(slices.Values(families), func(x, y *Family) int { return strings.Compare(x.Name, y.Name) }) {
		labels := "none"
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, labels, f.Help)
	}
	return b.String()
}
