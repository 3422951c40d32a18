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
	args                         string // as Command.Args; TOPIC and CHANNEL are checked
	changes                      bool   // it changes something, and so has --dry-run
	destroys                     bool   // it changes something for good, and so asks, and has --yes
	alone                        bool   // its arguments name the daemons
	flags                        func(c *call, flags *flag.FlagSet)
	run                          func(c *call) error
}

// call is one run of a verb.
type call struct {
	ctx      context.Context
	env      *appkit.Env
	out      io.Writer
	args     []string // as many as the verb has; those left out are empty
	given    []string // all of them, for a verb whose last argument may be repeated
	fleet    *fleet.Fleet
	direct   []string // brokers that were given by their addresses
	json     bool
	dryRun   bool
	yes      bool
	prune    bool // apply
	ready    bool // node ping
	drain    drainFlags
	deferred deferredFlags
	peek     peekFlags
	trace    traceFlags
	redrive  redriveFlags
	move     moveFlags
	retain   retainFlags
	replicas replicasFlags
	about    string // what is not there when nobody knows it; empty: the topic or channel
	option   bool   // it is about an option of brokers
	results  []result
}

// command makes a tool's command of the verb.
func (v verb) command() appkit.Command {
	return appkit.Command{
		Name: v.name, Summary: v.summary, Help: v.help, Args: v.args,
		Example: strings.TrimSuffix("brokerctl "+strings.ReplaceAll(v.example, "\n", "\nbrokerctl "), "brokerctl "),
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			var brokers, lookups appkit.Strings
			c := new(call)
			flags.Var(&brokers, "nsqd-http-address", "HTTP `address` of a broker")
			flags.Var(&lookups, "lookupd-http-address", "HTTP `address` of a lookup")
			flags.BoolVar(&c.json, "json", false, "print JSON")
			if v.changes {
				flags.BoolVar(&c.dryRun, "dry-run", false, "print the requests that would be sent, and send none that changes anything")
			}
			if v.destroys {
				flags.BoolVar(&c.yes, "yes", false, "do not ask before what cannot be taken back")
			}
			if v.flags != nil {
				v.flags(c, flags)
			}
			timeouts := appkit.AddHTTPFlags(flags, 2*time.Second, 5*time.Second)
			return func(ctx context.Context, env *appkit.Env) error {
				if err := timeouts.Check(); err != nil {
					return err
				}
				if len(brokers)+len(lookups) == 0 && !v.alone {
					return appkit.Nowhere("--nsqd-http-address or --lookupd-http-address required")
				}
				if err := c.take(v.args, env.Args); err != nil {
					return err
				}
				c.ctx, c.env, c.out, c.direct = ctx, env, env.Stdout, brokers
				c.fleet = fleet.New(timeouts.Client(env), brokers, lookups)
				defer c.fleet.Close()
				return v.run(c)
			}
		},
	}
}

// take sorts the arguments to their names, and checks those that are names of topics and channels.
func (c *call) take(names string, given []string) error {
	want := strings.Fields(names)
	c.given = given
	c.args = make([]string, len(want))
	copy(c.args, given)
	for i, name := range want {
		kind := strings.Trim(name, "[]")
		if c.args[i] != "" && (kind == "TOPIC" || kind == "CHANNEL") && !protocol.ValidName(c.args[i]) {
			return appkit.Usagef("%q is no valid name of a %s: 1 to 64 letters, digits, . _ and -, and #ephemeral at the end", c.args[i],
				strings.ToLower(kind))
		}
	}
	return nil
}

// brokersOf returns the brokers that are asked about a topic: those that have it; of a replicated topic one that speaks for all its replicas.
func (c *call) brokersOf(topic string) ([]string, []fleet.Failure) {
	brokers, failures := c.fleet.Brokers(c.ctx, topic)
	return c.fleet.Speaking(c.ctx, brokers, topic), failures
}

// counted is so many things, in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// step is one request of a verb that changes something.
type step struct {
	address string
	method  string // empty: POST
	path    string
	before  string // a path that is posted ahead of it, and told of only when that fails
	body    []byte
	hint    string // what to say besides when it is refused
	made    string // of apply: a replicated topic, which is waited for until a broker leads it
	answer  string // what to say of one that was taken in place of the broker's answer, which JSON has
}

func (s step) String() string {
	text := strings.TrimRight(fmt.Sprintf("%s %s%s %s", cmp.Or(s.method, http.MethodPost), appkit.BaseURL(s.address), s.path, s.body), " ")
	if s.before != "" {
		return step{address: s.address, path: s.before}.String() + "\n" + text
	}
	return text
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

// The outcomes of a request.
const (
	resultOK     = "ok"
	resultAbsent = "not there"
	resultFailed = "FAILED"
	resultDryRun = "would send"
)

// result is what became of one request, or of one daemon that was looked for.
type result struct {
	Address string `json:"address"`
	Result  string `json:"result"`
	Request string `json:"request,omitempty"`
	Answer  string `json:"answer,omitempty"`
	Error   string `json:"error,omitempty"`
}

func failed(address string, err error) result {
	return result{Address: address, Result: resultFailed, Error: fleet.Explain(err)}
}

// tell keeps a result, and prints it at once unless all are printed as JSON at the end.
func (c *call) tell(r result) {
	c.results = append(c.results, r)
	switch {
	case c.json:
	case r.Result == resultDryRun:
		fmt.Fprintln(c.out, r.Request)
	case r.Result == resultFailed:
		fmt.Fprintf(c.out, "%s  %s  %s\n", r.Address, c.env.Bad(r.Result), r.Error)
	default:
		fmt.Fprintln(c.out, strings.TrimRight(r.Address+"  "+r.Result+"  "+r.Answer, " "))
	}
}

// tally is what became of requests.
type tally struct{ done, absent, failed int }

func (c *call) tally() (sum tally) {
	for _, r := range c.results {
		switch r.Result {
		case resultAbsent:
			sum.absent++
		case resultFailed:
			sum.failed++
		default:
			sum.done++
		}
	}
	return sum
}

// what names what the verb is about.
func (c *call) what() string {
	switch {
	case c.about != "":
		return c.about
	case c.option:
		return "the option " + c.args[0]
	case len(c.args) > 1 && protocol.ValidName(c.args[1]):
		return fmt.Sprintf("the channel %s of the topic %s", c.args[1], c.args[0])
	case len(c.args) > 0:
		return "the topic " + c.args[0]
	}
	return "it"
}

// do sends requests, those of a stage at once and one stage after another, and prints what each daemon answered. The failures
// that came before, while daemons were looked for, are printed and counted too. It is an error when anything failed, and
// when nobody knew the topic or channel.
func (c *call) do(before []fleet.Failure, stages ...[]step) error {
	for _, f := range before {
		c.tell(failed(f.Address, f.Err))
	}
	for _, stage := range stages {
		c.send(stage)
	}
	if c.json {
		if err := c.encode(c.results); err != nil {
			return err
		}
	}
	sum := c.tally()
	switch {
	case sum.failed > 0:
		return fmt.Errorf("%d of %d failed", sum.failed, len(c.results))
	case sum.done == 0 && sum.absent > 0:
		return appkit.Missingf("nobody knows %s", c.what())
	case sum.done == 0:
		return appkit.Missingf("the lookups know no broker of %s", c.what())
	}
	return nil
}

// send sends one stage.
func (c *call) send(stage []step) {
	if c.dryRun {
		for _, s := range stage {
			c.tell(result{Address: s.address, Result: resultDryRun, Request: s.String()})
		}
		return
	}
	answers, failures := make([][]byte, len(stage)), make([]error, len(stage))
	var all sync.WaitGroup
	for i, s := range stage {
		all.Go(func() {
			if s.before != "" {
				if _, failures[i] = c.fleet.Do(c.ctx, http.MethodPost, s.address, s.before, nil); failures[i] != nil {
					return
				}
			}
			answers[i], failures[i] = c.fleet.Do(c.ctx, cmp.Or(s.method, http.MethodPost), s.address, s.path, s.body)
		})
	}
	all.Wait()
	for i, s := range stage {
		switch err := failures[i]; {
		case err == nil:
			answer := strings.TrimSpace(string(answers[i]))
			if s.answer != "" && !c.json {
				answer = s.answer
			}
			c.tell(result{Address: s.address, Result: resultOK, Answer: answer})
		case fleet.IsUnknown(err):
			c.tell(result{Address: s.address, Result: resultAbsent})
		default:
			r := failed(s.address, err)
			if s.hint != "" && fleet.IsRefusal(err) {
				r.Error += ": " + s.hint
			}
			c.tell(r)
		}
	}
}

func (c *call) encode(v any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// show prints what was asked for: as JSON, or as text writes it. Failures are printed after it and are an error.
func (c *call) show(v any, failures []fleet.Failure, text func(w io.Writer)) error {
	if c.json {
		if err := c.encode(v); err != nil {
			return err
		}
	} else {
		text(c.out)
	}
	return missed(failures)
}

// missed is the error of an answer that lacks what some daemons would have said.
func missed(failures []fleet.Failure) error {
	if len(failures) == 0 {
		return nil
	}
	var all []string
	for _, f := range failures {
		all = append(all, f.Error())
	}
	return errors.New(fmt.Sprintf("without %d that failed: ", len(failures)) + strings.Join(all, "; "))
}

// ask asks for a yes before what cannot be taken back.
func (c *call) ask(format string, args ...any) error {
	return c.env.Confirm(c.ctx, c.yes || c.dryRun, format, args...)
}
