package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/bench/load"
	"brokerd/apps/internal/bench/standard"
)

// Command is the load tool.
var Command = appkit.Command{
	Name:    "bench",
	Summary: "put load on a broker and measure it",
	Help: `Puts load on a broker that speaks NSQ's protocol and tells messages per second, latencies, and with --pid what
the broker's process needed. Every message is counted: lost, duplicated and foreign ones are told, and errors by their text.

With --rate, latency counts from when a message should have been sent, so that a stall of the broker shows in every
message that had to wait for it. Topics are made for the run and deleted after it, unless --topic names one.

The exit code is 1 when messages were lost or came twice, or when there were errors.
`,
	Example: `brokerctl bench pub --pid=$(pgrep brokerd)
brokerctl bench e2e --rate=5000 --duration=30s
brokerctl bench sub --consumers=64 --messages=2000000
brokerctl bench compare --ours=127.0.0.1:4150 --peer=127.0.0.1:5150 -- e2e --channels=8`,
	Sub: commands(),
}

func commands() []appkit.Command {
	var list []appkit.Command
	for _, w := range workloads {
		list = append(list, appkit.Command{
			Name: w.name, Summary: w.summary, Help: w.help, Example: w.example, Progress: true,
			Setup: func(flags *flag.FlagSet) appkit.RunFunc {
				o := &options{spec: w.spec}
				o.target.register(flags)
				w.register(flags, &o.spec)
				flags.BoolVar(&o.json, "json", false, "print the result as one object of JSON")
				return o.run
			},
		})
	}
	return append(list, compareCommand, standard.Command)
}

// options are those of one load.
type options struct {
	target target
	spec   load.Spec
	json   bool
}

// errProblems ends a run whose table has told what is wrong.
var errProblems = errors.New("messages were lost or came twice, or there were errors: see the result")

func (o *options) run(ctx context.Context, env *appkit.Env) error {
	if err := o.spec.Check(); err != nil {
		return appkit.Usagef("%v", err)
	}
	broker, err := o.target.broker(ctx, env.Token())
	if err != nil {
		return err
	}
	result, err := shown(ctx, env, broker, o.spec)
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(env.Stdout, result)
	} else {
		err = writeTable(env.Stdout, result)
	}
	if err == nil && len(result.Problems()) > 0 {
		err = errProblems
	}
	return err
}

// shown runs a load with a line of progress.
func shown(ctx context.Context, env *appkit.Env, broker load.Broker, spec load.Spec) (*load.Result, error) {
	live := new(load.Live)
	progress := env.Progress("messages", nil)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				progress.Done.Store(live.Done.Load())
				progress.Failed.Store(live.Failed.Load())
			case <-stop:
				return
			}
		}
	}()
	result, err := load.Run(ctx, broker, spec, live)
	close(stop)
	<-done
	progress.Done.Store(live.Done.Load()) // what came since the last look
	progress.Stop()
	return result, err
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
