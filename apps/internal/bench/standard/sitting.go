package standard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"brokerd/apps/internal/bench/figures"
	"brokerd/apps/internal/bench/load"
)

// sitting is one time that scenarios are run, on one machine.
type sitting struct {
	ours, peer, dir string // binaries, the peer's empty when there is none, and where data lies
	file            string // where results are kept as they come; empty is nowhere

	Began   time.Time           `json:"began"`
	Machine string              `json:"machine"`
	Ours    string              `json:"ours"`           // version
	Peer    string              `json:"peer,omitempty"` // version
	Rounds  int                 `json:"rounds"`
	Results map[string]*outcome `json:"results"` // by scenario
}

// outcome is what came of a scenario, a result of each round.
type outcome struct {
	Ours     map[string][]*load.Result `json:"ours"` // by level
	Peer     []*load.Result            `json:"peer,omitempty"`
	Problems []string                  `json:"problems,omitempty"` // runs that could not be measured, or had errors
}

// run runs the scenarios in rounds until ctx ends. A run that fails is told and does not end the others.
func (s *sitting) run(ctx context.Context, list []scenario, rounds int, log *slog.Logger) error {
	for round := range rounds {
		for _, c := range list {
			if c.once && round > 0 {
				continue
			}
			for _, variant := range s.variants(c, round) {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if s.has(c, variant, round) {
					continue
				}
				s.measure(ctx, c, variant, log.With("round", round+1, "scenario", c.name, "on", variant))
				if err := s.keep(); err != nil {
					return err
				}
			}
		}
	}
	for _, c := range list {
		if o := s.Results[c.name]; o == nil || len(o.Ours) == 0 {
			return fmt.Errorf("%s could not be measured: %s", c.name, strings.Join(o.Problems, "; "))
		}
	}
	return nil
}

// has reports whether a run was done before the sitting was continued.
func (s *sitting) has(c scenario, variant string, round int) bool {
	o := s.Results[c.name]
	switch {
	case o == nil:
		return false
	case variant == onPeer:
		return len(o.Peer) > round
	}
	return len(o.Ours[variant]) > round
}

// keep writes the results down, so that the sitting can be continued.
func (s *sitting) keep() error {
	if s.file == "" {
		return nil
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("keeping the results: %w", err)
	}
	return os.WriteFile(s.file, append(text, '\n'), 0o644)
}

// resume takes up what is kept in the file, if there is anything. Results of other
// versions are refused.
func (s *sitting) resume() error {
	text, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var old sitting
	if err := json.Unmarshal(text, &old); err != nil {
		return fmt.Errorf("the results in %s: %w", s.file, err)
	}
	if old.Ours != s.Ours || old.Peer != s.Peer {
		return fmt.Errorf("the results in %s are of %s and %q, not of %s and %q", s.file, old.Ours, old.Peer, s.Ours, s.Peer)
	}
	s.Began, s.Machine, s.Results = old.Began, old.Machine, old.Results
	return nil
}

// onPeer is the variant that is the other broker; the others are levels of ours.
const onPeer = "peer"

// variants are the runs of a scenario in a round; every other round turns them round.
func (s *sitting) variants(c scenario, round int) []string {
	list := append([]string(nil), c.levels...)
	if c.peer && s.peer != "" {
		list = append(list, onPeer)
	}
	if round%2 == 1 {
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
	}
	return list
}

// measure runs a scenario once and keeps its result.
func (s *sitting) measure(ctx context.Context, c scenario, variant string, log *slog.Logger) {
	o := s.Results[c.name]
	if o == nil {
		o = &outcome{Ours: make(map[string][]*load.Result)}
		s.Results[c.name] = o
	}
	r, err := s.once(ctx, c, variant)
	switch {
	case err != nil:
		log.Error("not measured", "error", err)
		o.Problems = append(o.Problems, variant+": "+err.Error())
		return
	case r.Interrupted:
		if ctx.Err() == nil {
			log.Error("not measured", "error", strings.Join(r.Notes, "; "))
			o.Problems = append(o.Problems, variant+": "+strings.Join(r.Notes, "; "))
		}
		return
	case variant == onPeer:
		o.Peer = append(o.Peer, r)
	default:
		o.Ours[variant] = append(o.Ours[variant], r)
	}
	for _, problem := range r.Problems() {
		log.Error("went wrong", "error", problem)
		o.Problems = append(o.Problems, variant+": "+problem)
	}
	log.Info("measured", summary(r)...)
}

// once starts a broker, runs the scenario and stops the broker.
func (s *sitting) once(ctx context.Context, c scenario, variant string) (*load.Result, error) {
	binary, flags := s.peer, c.flags
	if variant != onPeer {
		binary, flags = s.ours, append([]string{"--durability=" + variant}, c.flags...)
	}
	b, err := start(ctx, binary, s.dir, flags)
	if err != nil {
		return nil, err
	}
	spec := c.spec
	spec.Keep = true // the topics go with the folder
	r, err := load.Run(ctx, loaded(b), spec, new(load.Live))
	return r, errors.Join(err, stop(b))
}

// summary is what the log tells of a result.
func summary(r *load.Result) []any {
	var attrs []any
	for _, f := range figures.Of(r) {
		attrs = append(attrs, strings.ReplaceAll(f.Name, " ", "-"), figures.Format(f.Value))
	}
	return attrs
}
