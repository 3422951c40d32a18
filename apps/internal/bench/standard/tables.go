package standard

import (
	"fmt"
	"strings"

	"brokerd/apps/internal/bench/figures"
	"brokerd/apps/internal/bench/load"
)

// tables writes what was measured, as Markdown.
func (s *sitting) tables(list []scenario) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\nMeasured %s UTC with %s", s.Began.Format("2006-01-02 15:04"), s.Ours)
	if s.Peer != "" {
		fmt.Fprintf(&out, " beside %s", s.Peer)
	}
	fmt.Fprintf(&out, ".\nMachine: %s.\nMedians of %d alternating rounds.\n", s.Machine, s.Rounds)
	for _, g := range []struct {
		group group
		title string
		table func(*strings.Builder, []scenario)
	}{
		{speed, "Speed", s.speedTable}, {cost, "What things cost while nothing happens (one round)", s.costTable},
		{growth, "Cost per message as things grow (one round, level disk)", s.growthTable},
	} {
		var chosen []scenario
		for _, c := range list {
			if o := s.Results[c.name]; c.group == g.group && o != nil && len(o.Ours) > 0 {
				chosen = append(chosen, c)
			}
		}
		if len(chosen) > 0 {
			fmt.Fprintf(&out, "\n### %s\n\n", g.title)
			g.table(&out, chosen)
		}
	}
	s.problems(&out, list)
	return out.String()
}

// medians returns the figures of a scenario on a variant, none when it was not measured there.
func (s *sitting) medians(c scenario, variant string) []figures.Figure {
	o := s.Results[c.name]
	if variant == onPeer {
		return figures.Medians(o.Peer)
	}
	return figures.Medians(o.Ours[variant])
}

// row writes cells as a line of a table.
func row(out *strings.Builder, cells ...string) {
	fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
}

// cell writes a figure, nothing when it is not there.
func cell(list []figures.Figure, name string) string {
	v, ok := figures.Find(list, name)
	if !ok {
		return ""
	}
	return figures.Format(v)
}

// ratio writes how many times the peer's a figure is, nothing when one is not there.
func ratio(ours, peer []figures.Figure, name string) string {
	a, ok1 := figures.Find(ours, name)
	b, ok2 := figures.Find(peer, name)
	if !ok1 || !ok2 {
		return ""
	}
	return figures.Ratio(a, b)
}

func (s *sitting) speedTable(out *strings.Builder, list []scenario) {
	row(out, "scenario", "level", "messages/s", "nsqd", "ratio", "CPU us/message", "nsqd", "ratio",
		"p50 / p99 / max ms", "nsqd", "more")
	row(out, "---", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---")
	for _, c := range list {
		peer := s.medians(c, onPeer)
		for _, level := range c.levels {
			ours := s.medians(c, level)
			if ours == nil {
				continue
			}
			row(out, "`"+c.name+"` "+c.what, level,
				cell(ours, figures.Rate), cell(peer, figures.Rate), ratio(ours, peer, figures.Rate),
				cell(ours, figures.CPU), cell(peer, figures.CPU), ratio(ours, peer, figures.CPU),
				latencies(c, ours), latencies(c, peer), more(c, ours, peer))
		}
	}
}

// latencies writes the delays that matter in a scenario.
func latencies(c scenario, list []figures.Figure) string {
	names := [3]string{figures.AckP50, figures.AckP99, figures.AckMax}
	switch c.spec.Kind {
	case load.EndToEnd:
		names = [3]string{figures.P50, figures.P99, figures.Max}
	case load.Deferred:
		names = [3]string{figures.LateP50, figures.LateP99, figures.LateMax}
	case load.Subscribe, load.Replay:
		return "" // how long a message waited before the consumers came says nothing
	}
	if _, ok := figures.Find(list, names[0]); !ok {
		return ""
	}
	return cell(list, names[0]) + " / " + cell(list, names[1]) + " / " + cell(list, names[2])
}

// more writes what only some scenarios have.
func more(c scenario, ours, peer []figures.Figure) string {
	var parts []string
	add := func(what, name string) {
		if _, ok := figures.Find(ours, name); !ok {
			return
		}
		text := what + " " + cell(ours, name)
		if p := cell(peer, name); p != "" {
			text += " (" + p + ")"
		}
		parts = append(parts, text)
	}
	if c.spec.Channels > 1 && c.spec.Kind == load.Subscribe {
		add("in/s", figures.FillRate)
		add("MiB on disk when full", figures.FillDisk)
		add("when drained", figures.Disk)
	}
	if c.spec.Consumers > 2 {
		add("farthest from the mean %", figures.Spread)
	}
	return strings.Join(parts, ", ")
}

func (s *sitting) costTable(out *strings.Builder, list []scenario) {
	row(out, "scenario", "level", "bytes each", "nsqd", "ratio", "CPU % of a core", "nsqd", "memory MiB in all", "nsqd")
	row(out, "---", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---:")
	for _, c := range list {
		peer := s.medians(c, onPeer)
		for _, level := range c.levels {
			ours := s.medians(c, level)
			row(out, "`"+c.name+"` "+c.what, level,
				cell(ours, figures.Each), cell(peer, figures.Each), ratio(ours, peer, figures.Each),
				cell(ours, figures.Idle), cell(peer, figures.Idle), cell(ours, figures.Memory), cell(peer, figures.Memory))
		}
	}
}

func (s *sitting) growthTable(out *strings.Builder, list []scenario) {
	row(out, "scenario", "messages/s", "CPU us/message", "filling: messages/s", "CPU us/message", "memory MiB", "disk MiB when full")
	row(out, "---", "---:", "---:", "---:", "---:", "---:", "---:")
	for _, c := range list {
		for _, level := range c.levels {
			ours := s.medians(c, level)
			row(out, "`"+c.name+"` "+c.what, cell(ours, figures.Rate), cell(ours, figures.CPU), cell(ours, figures.FillRate),
				cell(ours, figures.FillCPU), cell(ours, figures.Memory), cell(ours, figures.FillDisk))
		}
	}
}

// problems tells what could not be measured and what went wrong.
func (s *sitting) problems(out *strings.Builder, list []scenario) {
	var lines []string
	for _, c := range list {
		if o := s.Results[c.name]; o != nil {
			for _, problem := range o.Problems {
				lines = append(lines, fmt.Sprintf("- `%s` on %s\n", c.name, problem))
			}
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(out, "\nWhat went wrong:\n\n%s", strings.Join(lines, ""))
	}
}
