package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"brokerd/apps/internal/bench/figures"
	"brokerd/apps/internal/bench/load"
)

// writeTable writes a result for a person.
func writeTable(w io.Writer, r *load.Result) error {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	if r.Interrupted {
		fmt.Fprintln(table, "ended early: this is what came so far")
	}
	if r.Fill != nil {
		rows(table, "filled: ", r.Fill)
	}
	rows(table, "", r)
	counts(table, r)
	table.Flush()
	for _, problem := range r.Problems() {
		fmt.Fprintln(&out, "PROBLEM:", problem)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(&out, "note:", note)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// rows writes what was measured.
func rows(w io.Writer, prefix string, r *load.Result) {
	if r.Messages > 0 {
		fmt.Fprintf(w, "%smessages\t%s in %.2f s\t%s/s\t%.1f MB/s\n", prefix, figures.Grouped(r.Messages), r.Seconds,
			figures.Grouped(int64(r.PerSecond)), r.MBPerSecond)
	}
	if r.SetupPerSec > 0 {
		fmt.Fprintf(w, "%sset up\t%s/s\n", prefix, figures.Grouped(int64(r.SetupPerSec)))
	}
	latency(w, prefix+"latency", r.Latency)
	latency(w, prefix+"lateness", r.Lateness)
	latency(w, prefix+"acknowledged after", r.Ack)
	latency(w, prefix+"generator late by", r.Lag)
	if s := r.Share; s != nil {
		fmt.Fprintf(w, "%sper consumer\tmin %s\tmax %s\tmean %.0f\tdeviation %.1f %%\n", prefix, figures.Grouped(s.Min), figures.Grouped(s.Max),
			s.Mean, 100*s.Deviation/max(s.Mean, 1))
	}
	if b := r.Broker; b != nil {
		if r.Messages > 0 {
			fmt.Fprintf(w, "%sbroker CPU\t%.2f s\t%.3f us per message\n", prefix, b.CPUSeconds, b.CPUMicros)
		}
		fmt.Fprintf(w, "%sbroker memory\t%.1f MiB\tat most %.1f MiB\n", prefix, mib(b.Memory), mib(b.Peak))
		if b.Disk > 0 {
			fmt.Fprintf(w, "%sbroker disk\t%.1f MiB\n", prefix, mib(b.Disk))
		}
	}
	if r.Each != 0 {
		fmt.Fprintf(w, "%sbroker memory each\t%.0f bytes\n", prefix, r.Each)
	}
	if r.IdlePercent != nil {
		fmt.Fprintf(w, "%sbroker CPU while idle\t%.2f %% of a core\n", prefix, *r.IdlePercent)
	}
}

func latency(w io.Writer, name string, l *load.Latency) {
	if l != nil {
		fmt.Fprintf(w, "%s\tp50 %s\tp90 %s\tp99 %s\tp99.9 %s\tmax %s\n", name, millis(l.P50), millis(l.P90), millis(l.P99),
			millis(l.P999), millis(l.Max))
	}
}

// counts writes what was sent and what came.
func counts(w io.Writer, r *load.Result) {
	c := r.Counts
	if c.Sent == 0 {
		return
	}
	fmt.Fprintf(w, "counted\tsent %s\tacknowledged %s", figures.Grouped(c.Sent), figures.Grouped(c.Acked))
	if c.ByBroker != nil {
		fmt.Fprintf(w, "\tby the broker %s", figures.Grouped(*c.ByBroker))
	}
	fmt.Fprintln(w)
	if c.Expected > 0 {
		fmt.Fprintf(w, "delivered\t%s of %s\tlost %s\tduplicated %s\tdelivered again %s\n", figures.Grouped(c.Received),
			figures.Grouped(c.Expected), figures.Grouped(c.Lost), figures.Grouped(c.Duplicated), figures.Grouped(c.Redelivered))
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// millis writes milliseconds with three digits that count.
func millis(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
