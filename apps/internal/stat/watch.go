package stat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

var errNobody = errors.New("nobody answered")

// watch is one run.
type watch struct {
	*options
	fleet   *fleet.Fleet
	env     *appkit.Env
	show    view
	sampler sampler
	silent  map[string]bool // daemons that did not answer the last time
}

func (w *watch) run(ctx context.Context) error {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for round := 0; ; round++ {
		rows, failures, err := w.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (round == 0 || w.rounds > 0 && round >= w.rounds):
			return err
		case err != nil && !w.show.live():
			w.env.Log.Warn("nothing to show", "error", err)
		}
		if round > 0 || w.show.live() { // the first round is what the next is compared with
			if err := w.show.show(time.Now(), rows, failures); err != nil {
				return fmt.Errorf("writing out: %w", err)
			}
		}
		if w.rounds > 0 && round >= w.rounds {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// ask asks everybody once. The error means that there is nothing to show: nobody answered, or what was asked for is not there.
func (w *watch) ask(ctx context.Context) ([]Row, []fleet.Failure, error) {
	brokers, failures := w.fleet.Brokers(ctx, w.topic)
	if len(brokers) == 0 {
		failure := appkit.Missingf("the lookups know no broker of it")
		if len(failures) > 0 {
			failure = fmt.Errorf("%w: %w", errNobody, failures[0])
		}
		return nil, failures, failure
	}
	answers := w.fleet.Stats(ctx, brokers, fleet.Query{Topic: w.topic, Channel: w.channel})
	answered := 0
	for _, a := range answers {
		if a.Err == nil {
			answered++
			continue
		}
		failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
	}
	if ctx.Err() == nil && !w.show.live() {
		w.warn(failures, answers)
	}
	if answered == 0 {
		return nil, failures, fmt.Errorf("%w: %w", errNobody, failures[len(failures)-1])
	}
	rows := w.sampler.add(time.Now(), answers)
	if w.channel != "" && !slices.ContainsFunc(rows, func(r Row) bool { return r.Channel == w.channel }) {
		return nil, failures, appkit.Missingf("no broker has the channel %s of the topic %s", w.channel, w.topic)
	}
	return rows, failures, nil
}

// warn logs who has stopped to answer, once, and who answers again.
func (w *watch) warn(failures []fleet.Failure, answers []fleet.Answer[httpapi.Stats]) {
	for _, f := range failures {
		if !w.silent[f.Address] {
			w.env.Log.Warn("no answer, left out of the sums", "address", f.Address, "error", fleet.Explain(f.Err))
		}
		w.silent[f.Address] = true
	}
	for _, a := range answers {
		if a.Err == nil && w.silent[a.Address] {
			w.env.Log.Info("answers again", "address", a.Address)
			delete(w.silent, a.Address)
		}
	}
}
