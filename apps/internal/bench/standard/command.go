package standard

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/cmd/child"
)

// Command runs the standard scenarios.
var Command = appkit.Command{
	Name:    "standard",
	Summary: "run the project's own scenarios on brokers of its own",
	Help: `Starts brokerd, and nsqd where there is one on PATH, with a fresh process and folder for each scenario and level of
durability, on loopback; runs the scenarios in rounds in which the brokers take turns; prints medians and ratios, or
writes them between the two markers of a page. Interrupted, it prints what it has, and writes nothing.

Scenarios are named by their names, or by their groups: speed, cost, growth.
`,
	Example: "brokerctl bench standard --ours=bin/brokerd --scenarios=pub,sub\nbrokerctl bench standard --write=docs/BENCHMARKS.md",
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		o := &options{}
		flags.StringVar(&o.ours, "ours", "", "the `binary` of brokerd (default the one beside brokerctl)")
		flags.StringVar(&o.peer, "peer", "", "the `binary` that it is compared with (default nsqd, if it is on PATH; none = nothing)")
		flags.IntVar(&o.rounds, "rounds", 3, "how `often` each has its turn")
		flags.StringVar(&o.scenarios, "scenarios", "", "only these, `names` with commas or spaces between")
		flags.StringVar(&o.dir, "dir", "", "the `folder` below which data lies (default the system's for temporary files)")
		flags.StringVar(&o.results, "results", "", "keep results in this `file`, and do not measure again what it has")
		flags.StringVar(&o.write, "write", "", "the `page` to write the tables into")
		flags.BoolVar(&o.json, "json", false, "print all results as one object of JSON")
		return o.run
	},
}

type options struct {
	ours, peer, scenarios, dir, results, write string
	rounds                                     int
	json                                       bool
}

func (o *options) run(ctx context.Context, env *appkit.Env) error {
	if o.rounds < 1 {
		return appkit.Usagef("--rounds must be 1 or more, not %d", o.rounds)
	}
	if o.ours == "" {
		o.ours = child.Beside("brokerd")
	}
	list, err := choose(strings.FieldsFunc(o.scenarios, func(r rune) bool { return r == ',' || r == ' ' }))
	if err != nil {
		return appkit.Usagef("%v", err)
	}
	s, err := o.sitting(ctx)
	if err != nil {
		return err
	}
	err = s.run(ctx, list, o.rounds, env.Log)
	if ctx.Err() != nil {
		err = nil
	}
	text := s.tables(list)
	switch {
	case err != nil:
		return err
	case o.json:
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(s)
	case o.write == "" || ctx.Err() != nil:
		_, err := io.WriteString(env.Stdout, text)
		return err
	}
	return writeBetween(o.write, text)
}

// sitting finds the binaries and describes the machine.
func (o *options) sitting(ctx context.Context) (*sitting, error) {
	s := &sitting{ours: o.ours, dir: o.dir, file: o.results, Began: time.Now().UTC().Truncate(time.Minute), Rounds: o.rounds,
		Results: make(map[string]*outcome)}
	if s.dir == "" {
		s.dir = os.TempDir()
	}
	var err error
	if s.Ours, err = version(ctx, s.ours); err != nil {
		return nil, err
	}
	switch o.peer {
	case "none":
	case "":
		if path, err := exec.LookPath("nsqd"); err == nil {
			s.peer = path
		}
	default:
		s.peer = o.peer
	}
	if s.peer != "" {
		if s.Peer, err = version(ctx, s.peer); err != nil {
			return nil, err
		}
	}
	s.Machine = describeMachine(s.dir)
	if s.file == "" {
		return s, nil
	}
	return s, s.resume()
}

// The lines of the page that the tables stand between.
const (
	beginMarker = "<!-- measured: begin -->"
	endMarker   = "<!-- measured: end -->"
)

var errNoMarkers = errors.New("the page does not have the two markers in this order: " + beginMarker + " " + endMarker)

// between replaces what stands between the markers of a page.
func between(page, text string) (string, error) {
	begin := strings.Index(page, beginMarker)
	end := strings.Index(page, endMarker)
	if begin < 0 || end < begin {
		return "", errNoMarkers
	}
	return page[:begin+len(beginMarker)] + "\n" + text + page[end:], nil
}

// writeBetween writes the text between the markers of a file.
func writeBetween(path, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed, err := between(string(page), text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(changed), 0o644)
}
