package brokerctl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol"
)

// verb is one thing that can be done to topics, channels or nodes.
type verb struct {
	name, summary, help, example string
	args                         string // names of the positional arguments; one in brackets may be left out
	changes                      bool   // it changes something, and so has --dry-run instead of --json
	run                          func(c *call) error
}

// call is one run of a verb.
type call struct {
	ctx    context.Context
	out    io.Writer
	args   []string // as many as the verb has; those left out are empty
	given  []string // all of them, for a verb whose last argument may be repeated
	fleet  *fleet.Fleet
	direct []string // brokers that were given by their addresses
	json   bool
	dryRun bool
}

// command makes a tool's command of the verb.
func (v verb) command(lookupEnv Environment) appkit.Command {
	return appkit.Command{
		Name: v.name, Summary: v.summary, Help: v.help, Args: cmp.Or(v.args, " "),
		Example: strings.TrimSuffix("brokerctl "+strings.ReplaceAll(v.example, "\n", "\nbrokerctl "), "brokerctl "),
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			var brokers, lookups appkit.Strings
			c := new(call)
			timeouts := appkit.AddHTTPFlags(flags, 2*time.Second, 5*time.Second)
			flags.Var(&brokers, "nsqd-http-address", "HTTP `address` of a broker")
			flags.Var(&lookups, "lookupd-http-address", "HTTP `address` of a lookup")
			if v.changes {
				flags.BoolVar(&c.dryRun, "dry-run", false, "print the requests that would be sent, and send none that changes anything")
			} else {
				flags.BoolVar(&c.json, "json", false, "print JSON")
			}
			return func(ctx context.Context, env *appkit.Env) error {
				if err := timeouts.Check(); err != nil {
					return err
				}
				brokers, lookups := fromEnvironment(brokers, lookups, lookupEnv)
				if len(brokers)+len(lookups) == 0 {
					return appkit.Usagef("--nsqd-http-address or --lookupd-http-address required")
				}
				if err := c.take(v.args, env.Args); err != nil {
					return err
				}
				c.ctx, c.out, c.direct = ctx, env.Stdout, brokers
				c.fleet = fleet.New(timeouts.Client(), brokers, lookups)
				defer c.fleet.Close()
				return v.run(c)
			}
		},
	}
}

// fromEnvironment returns the addresses, those of the environment when no flag gave any.
func fromEnvironment(brokers, lookups []string, lookupEnv Environment) ([]string, []string) {
	if len(brokers)+len(lookups) > 0 {
		return brokers, lookups
	}
	list := func(name string) (addresses []string) {
		text, _ := lookupEnv(name)
		for address := range strings.SplitSeq(text, ",") {
			if address = strings.TrimSpace(address); address != "" {
				addresses = append(addresses, address)
			}
		}
		return addresses
	}
	return list(brokersVariable), list(lookupsVariable)
}

// take sorts the arguments to their names, and checks those that are names of topics and channels.
func (c *call) take(names string, given []string) error {
	want := strings.Fields(names)
	least := len(slices.DeleteFunc(slices.Clone(want), func(n string) bool { return n[0] == '[' }))
	repeated := strings.HasSuffix(names, "...")
	if len(given) < least || len(given) > len(want) && !repeated {
		return appkit.Usagef("wants %s", cmp.Or(names, "no arguments"))
	}
	c.given = given
	c.args = make([]string, len(want))
	copy(c.args, given)
	for i, name := range want {
		kind := strings.Trim(name, "[]")
		if c.args[i] != "" && (kind == "TOPIC" || kind == "CHANNEL") && !protocol.ValidName(c.args[i]) {
			return appkit.Usagef("%q is no valid name of a %s", c.args[i], strings.ToLower(kind))
		}
	}
	return nil
}

// step is one request of a verb that changes something.
type step struct {
	address string
	method  string // empty: POST
	path    string
	body    []byte
}

// query returns a path with a topic, and a channel unless it is empty.
func query(path, topic, channel string) string {
	values := url.Values{"topic": {topic}}
	if channel != "" {
		values.Set("channel", channel)
	}
	return path + "?" + values.Encode()
}

// steps returns the same request to each of the addresses.
func steps(addresses []string, path string) []step {
	list := make([]step, len(addresses))
	for i, a := range addresses {
		list[i] = step{address: a, path: path}
	}
	return list
}

// tally is what became of a verb's requests.
type tally struct{ done, absent, failed int }

// do sends requests, those of a stage at once and one stage after another, and prints what each daemon answered. The failures
// that came before, while daemons were looked for, are printed and counted too. It is an error when anything failed, and
// when nobody knew the topic or channel.
func (c *call) do(before []fleet.Failure, stages ...[]step) error {
	var sum tally
	for _, f := range before {
		fmt.Fprintf(c.out, "%s  FAILED  %s\n", f.Address, fleet.Explain(f.Err))
		sum.failed++
	}
	for _, stage := range stages {
		if c.dryRun {
			for _, s := range stage {
				fmt.Fprintf(c.out, "%s %s%s %s\n", cmp.Or(s.method, http.MethodPost), appkit.BaseURL(s.address), s.path, s.body)
				sum.done++
			}
			continue
		}
		c.send(stage, &sum)
	}
	switch {
	case sum.failed > 0:
		return fmt.Errorf("%d of %d failed", sum.failed, sum.done+sum.absent+sum.failed)
	case sum.done == 0 && sum.absent > 0:
		return errors.New("nobody knows it")
	case sum.done == 0:
		return errors.New("the lookups know no broker of it")
	}
	return nil
}

// send sends one stage.
func (c *call) send(stage []step, sum *tally) {
	answers, failures := make([][]byte, len(stage)), make([]error, len(stage))
	var all sync.WaitGroup
	for i, s := range stage {
		all.Go(func() {
			answers[i], failures[i] = c.fleet.Do(c.ctx, cmp.Or(s.method, http.MethodPost), s.address, s.path, s.body)
		})
	}
	all.Wait()
	for i, s := range stage {
		switch err := failures[i]; {
		case err == nil:
			sum.done++
			fmt.Fprintln(c.out, strings.TrimRight(fmt.Sprintf("%s  ok  %s", s.address, answers[i]), " \n"))
		case fleet.IsNotFound(err):
			sum.absent++
			fmt.Fprintf(c.out, "%s  not there\n", s.address)
		default:
			sum.failed++
			fmt.Fprintf(c.out, "%s  FAILED  %s\n", s.address, fleet.Explain(err))
		}
	}
}

// show prints what was asked for: as JSON, or as text writes it. Failures are printed after it and are an error.
func (c *call) show(v any, failures []fleet.Failure, text func(w io.Writer)) error {
	if c.json {
		encoder := json.NewEncoder(c.out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(v); err != nil {
			return err
		}
	} else {
		text(c.out)
	}
	if len(failures) == 0 {
		return nil
	}
	list := make([]string, len(failures))
	for i, f := range failures {
		list[i] = f.Error()
	}
	return fmt.Errorf("without %d that failed: %s", len(failures), strings.Join(list, "; "))
}
