package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/bench/figures"
	"brokerd/apps/internal/bench/load"
)

var compareCommand = appkit.Command{
	Name:    "compare",
	Summary: "put the same load on two brokers in turn",
	Help: `Puts the same load on two brokers in turn, several rounds, each round beginning with the other broker than the one
before, and prints the medians of all figures and how many times the peer's ours is. The load and its flags stand
behind -- as they would stand behind bench; without them it is pub, sub, e2e and e2e --rate=5000.

On one machine the brokers share it with each other: what one has in memory or on its disk the other does without.
`,
	Example: `brokerctl bench compare --ours=127.0.0.1:4150 --peer=127.0.0.1:5150
brokerctl bench compare --ours=127.0.0.1:4150 --ours-pid=10 --peer=127.0.0.1:5150 --peer-pid=11 -- e2e --channels=8`,
	Args:     "[-- LOAD [FLAGS...]]",
	Progress: true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		c := new(comparison)
		flags.StringVar(&c.ours.tcp, "ours", "127.0.0.1:4150", "one broker, `host:port`")
		flags.StringVar(&c.ours.http, "ours-http", "", "its HTTP (default the port after; none = do without)")
		c.ours.registerProcess(flags, "ours-", "its")
		flags.StringVar(&c.peer.tcp, "peer", "", "the other broker, `host:port`")
		flags.StringVar(&c.peer.http, "peer-http", "", "its HTTP (default the port after; none = do without)")
		c.peer.registerProcess(flags, "peer-", "its")
		flags.IntVar(&c.rounds, "rounds", 5, "how `often` each broker has its turn")
		flags.BoolVar(&c.json, "json", false, "print medians and all results as one object of JSON")
		return c.run
	},
}

// comparison is the command compare.
type comparison struct {
	ours, peer target
	rounds     int
	json       bool
}

// compared is what came of one load on both brokers.
type compared struct {
	Load    string           `json:"load"` // as typed
	Ours    []figures.Figure `json:"ours_medians"`
	Peer    []figures.Figure `json:"peer_medians"`
	Results struct {
		Ours []*load.Result `json:"ours"`
		Peer []*load.Result `json:"peer"`
	} `json:"results"`
	spec load.Spec
}

// usualLoads are compared when none is named.
var usualLoads = [][]string{{"pub"}, {"sub"}, {"e2e"}, {"e2e", "--rate=5000"}}

func (c *comparison) run(ctx context.Context, env *appkit.Env) error {
	if c.peer.tcp == "" {
		return appkit.Usagef("--peer must name the other broker")
	}
	if c.rounds < 1 {
		return appkit.Usagef("--rounds must be 1 or more, not %d", c.rounds)
	}
	list, err := c.loads(env.Args)
	if err != nil {
		return err
	}
	ours, err := c.ours.broker(ctx, env.Token())
	if err != nil {
		return err
	}
	peer, err := c.peer.broker(ctx, "")
	if err != nil {
		return err
	}
	for _, l := range list {
		if err := c.compare(ctx, env, l, ours, peer); err != nil {
			return err
		}
	}
	if c.json {
		err = writeJSON(env.Stdout, list)
	} else {
		err = writeComparison(env.Stdout, list, c.rounds)
	}
	if err != nil {
		return err
	}
	return problemsOf(list)
}

// loads parses what is to be compared.
func (c *comparison) loads(args []string) ([]*compared, error) {
	lines := usualLoads
	if len(args) > 0 {
		lines = [][]string{args}
	}
	var list []*compared
	for _, line := range lines {
		spec, err := parseLoad(line)
		if err != nil {
			return nil, err
		}
		list = append(list, &compared{Load: strings.Join(line, " "), spec: spec})
	}
	return list, nil
}

// parseLoad reads the name of a load and its flags.
func parseLoad(line []string) (load.Spec, error) {
	for _, w := range workloads {
		if w.name != line[0] {
			continue
		}
		s := w.spec
		set := flag.NewFlagSet(w.name, flag.ContinueOnError)
		set.SetOutput(io.Discard)
		w.register(set, &s)
		err := set.Parse(line[1:])
		switch {
		case err != nil:
			return s, appkit.Usagef("%s: %v", w.name, err)
		case set.NArg() > 0:
			return s, appkit.Usagef("%s: unknown arguments: %s", w.name, strings.Join(set.Args(), " "))
		}
		if err := s.Check(); err != nil {
			return s, appkit.Usagef("%s: %v", w.name, err)
		}
		return s, nil
	}
	return load.Spec{}, appkit.Usagef("there is no load %q", line[0])
}

// compare runs one load on both brokers, as long as ctx lasts. Interrupted results are left out.
func (c *comparison) compare(ctx context.Context, env *appkit.Env, l *compared, ours, peer load.Broker) error {
	for round := range c.rounds {
		order := []bool{true, false}
		if round%2 == 1 {
			order = []bool{false, true}
		}
		for _, isOurs := range order {
			if ctx.Err() != nil {
				break
			}
			broker, results := ours, &l.Results.Ours
			if !isOurs {
				broker, results = peer, &l.Results.Peer
			}
			result, err := shown(ctx, env, broker, l.spec)
			if err != nil {
				return fmt.Errorf("%s on %s: %w", l.Load, broker.TCP, err)
			}
			if !result.Interrupted {
				*results = append(*results, result)
			}
		}
	}
	l.Ours, l.Peer = figures.Medians(l.Results.Ours), figures.Medians(l.Results.Peer)
	return nil
}

// writeComparison writes the medians side by side.
func writeComparison(w io.Writer, list []*compared, rounds int) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, l := range list {
		fmt.Fprintf(table, "%s\tours\tpeer\tours/peer\t\n", l.Load)
		for _, f := range l.Ours {
			peer, ok := figures.Find(l.Peer, f.Name)
			if !ok {
				fmt.Fprintf(table, "%s\t%s\t\t\t\n", f.Name, figures.Format(f.Value))
				continue
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t\n", f.Name, figures.Format(f.Value), figures.Format(peer),
				figures.Ratio(f.Value, peer))
		}
		if done := min(len(l.Results.Ours), len(l.Results.Peer)); done < rounds {
			fmt.Fprintf(table, "ended early: %d of %d rounds\t\t\t\t\n", done, rounds)
		}
		fmt.Fprintln(table, "\t\t\t\t")
	}
	return table.Flush()
}

// problemsOf returns an error that names what went wrong in any result.
func problemsOf(list []*compared) error {
	for _, l := range list {
		for who, results := range map[string][]*load.Result{"ours": l.Results.Ours, "peer": l.Results.Peer} {
			for _, r := range results {
				if problems := r.Problems(); len(problems) > 0 {
					return fmt.Errorf("%s on %s: %s", l.Load, who, strings.Join(problems, "; "))
				}
			}
		}
	}
	return nil
}
