package stat

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

// headerEvery is after how many of nsq_stat's lines their header is repeated.
const headerEvery = 25

// nsqStatHeader is the header of nsq_stat's lines: groups of columns, and columns.
var nsqStatHeader = centred("rate", 16) + "+" + centred("depth", 37) + "+" + centred("metadata", 37) + "\n" +
	fmt.Sprintf("%7s %7s | %7s %7s %7s %5s %5s | %7s %7s %12s %7s\n",
		"ingress", "egress", "total", "mem", "disk", "inflt", "def", "req", "t-o", "msgs", "clients")

// centred puts dashes around a word.
func centred(word string, width int) string {
	before := (width - len(word)) / 2
	return strings.Repeat("-", before) + word + strings.Repeat("-", width-before-len(word))
}

// nsqStatLine is one of nsq_stat's lines. Rates are cut to whole numbers.
func nsqStatLine(r Row) string {
	return fmt.Sprintf("%7d %7d | %7d %7d %7d %5d %5d | %7d %7d %12d %7d\n", int64(r.Ingress), int64(r.Egress),
		r.Depth, r.Memory, r.Disk, r.InFlight, r.Deferred, r.Requeues, r.Timeouts, r.Messages, r.Clients)
}

// orders are the values of --sort.
var orders = map[string]func(a, b Row) int{
	"name":    byName,
	"depth":   descending(func(r Row) float64 { return float64(r.Depth) }),
	"ingress": descending(func(r Row) float64 { return r.Ingress }),
	"egress":  descending(func(r Row) float64 { return r.Egress }),
	"flight":  descending(func(r Row) float64 { return float64(r.InFlight) }),
	"requeue": descending(func(r Row) float64 { return r.Requeued }),
}

func descending(of func(Row) float64) func(a, b Row) int {
	return func(a, b Row) int { return cmp.Or(cmp.Compare(of(b), of(a)), byName(a, b)) }
}

// columns are the table's, in order.
var columns = []appkit.Column{{Name: "TOPIC", Left: true}, {Name: "CHANNEL", Left: true}, {Name: "DEPTH"}, {Name: "KEPT", Left: true, Extra: true},
	{Name: "FLIGHT", Extra: true}, {Name: "DEFER", Extra: true}, {Name: "IN/S"}, {Name: "OUT/S"}, {Name: "REQUEUED", Extra: true},
	{Name: "TIMED OUT", Extra: true}, {Name: "CONNS", Extra: true}}

// table lays rows out in so many columns of a terminal; 0 is no limit. A topic has a row of its own only if there is no other, or
// something waits in it. At most limit lines come back, the last saying how many are missing; 0 is no limit.
func table(rows []Row, order func(a, b Row) int, limit, width int) []string {
	shown := visible(rows)
	slices.SortFunc(shown, order)
	hidden := 0
	if limit > 0 && len(shown)+2 > limit { // beside the names of the columns, and what was cut
		keep := max(limit-3, 0)
		hidden = len(shown) - keep
		shown = shown[:keep]
	}
	t := appkit.Table{Columns: columns}
	for _, r := range shown {
		t.Add(r.cells()...)
	}
	lines := t.Lines(width)
	if hidden > 0 {
		note := fmt.Sprintf("and %d more: --sort=depth shows the deepest, --json all", hidden)
		if width > 0 {
			note = appkit.Shorten(note, width)
		}
		lines = append(lines, note)
	}
	return lines
}

// visible returns a copy of the rows that are worth a line.
func visible(rows []Row) []Row {
	channels := make(map[string]bool) // topics that have some
	for _, r := range rows {
		channels[r.Topic] = channels[r.Topic] || r.Channel != ""
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Channel == "" && r.Depth == 0 && channels[r.Topic] })
}

func (r *Row) cells() []string {
	channel := r.Channel
	if channel == "" {
		channel = "(topic)"
	}
	if r.Paused {
		channel += " (paused)"
	}
	return []string{
		r.Topic, channel, appkit.Grouped(r.Depth), r.kept(), strconv.Itoa(r.InFlight),
		strconv.Itoa(r.Deferred), r.rate(r.Ingress), r.rate(r.Egress), appkit.Grouped(int64(r.Requeues)),
		appkit.Grouped(int64(r.Timeouts)), strconv.Itoa(r.Clients),
	}
}

// kept says where a message is when its publish is answered: the level of the topic's durability, or how it is with nsqd, which has no levels.
func (r *Row) kept() string {
	if r.Level == "" {
		return "as nsqd"
	}
	return r.Level
}

// rate is a whole number, or one with a decimal when it is small, and - where there is none yet.
func (r *Row) rate(v float64) string {
	if !r.rated {
		return "-"
	}
	if v > 0 && v < 10 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return appkit.Grouped(int64(v + 0.5))
}

// The columns that need two answers.
const firstRate, lastRate = 6, 7

// Sum adds up one answer of each broker; those with an error are left out. There are no rates.
func Sum(answers []fleet.Answer[httpapi.Stats]) []Row {
	var s sampler
	return s.add(time.Now(), answers)
}

// Table is rows as the tool shows them, by name and without rates.
func Table(rows []Row) *appkit.Table {
	t := &appkit.Table{Columns: slices.Delete(slices.Clone(columns), firstRate, lastRate+1)}
	for _, r := range visible(rows) {
		t.Add(slices.Delete(r.cells(), firstRate, lastRate+1)...)
	}
	return t
}
