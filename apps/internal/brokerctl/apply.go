package brokerctl

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/definitions"
)

var dumpVerb = verb{
	name: "dump", summary: "print the topics and channels of a cluster, to keep them in a file",
	help: `Prints every topic with its channels, which of them are paused, and the options that were set for them, as TOML, or JSON with --json. Ephemeral
topics and channels are left out. Messages are not part of it. Where brokers differ, a topic is paused when any has it paused, and a
line on the error output says so.`,
	example: "dump --lookupd-http-address=127.0.0.1:4161 > topics.toml", run: dump,
}

var applyVerb = verb{
	name: "apply", summary: "make topics and channels be as a file says", args: "FILE", changes: true, destroys: true,
	help: `FILE is what brokerctl dump printed, or - for the input. Topics that no broker has are made on every broker; one that some have is made
to be as the file says there. What the file does not name stays, unless --prune is given. --dry-run shows each difference, and
changes nothing.`,
	example: "apply topics.toml --dry-run\napply topics.toml --prune --yes",
	flags: func(c *call, flags *flag.FlagSet) {
		flags.BoolVar(&c.prune, "prune", false, "delete topics and channels that the file does not name, with their messages")
	},
	run: apply,
}

func dump(c *call) error {
	s, failures := c.look()
	if len(s.brokers) == 0 && len(failures) == 0 {
		return appkit.Missingf("the lookups know no broker")
	}
	all, differences := s.merged()
	for _, text := range differences {
		c.env.Note("brokerctl dump: %s", text)
	}
	if err := missed(failures); err != nil {
		return err // half a cluster is not to be kept as a whole one
	}
	return all.Write(c.out, c.json)
}

// change is one difference between what is and what is to be, and what removes it.
type change struct {
	text    string
	destroy bool
	steps   []step
}

// apply finds the differences and removes them.
func apply(c *call) error {
	wanted, err := definitions.Read(c.args[0], c.env.Stdin)
	if err != nil {
		return appkit.Usagef("%w", err)
	}
	s, failures := c.look()
	if err := missed(failures); err != nil {
		return err
	}
	if len(s.brokers) == 0 {
		return appkit.Missingf("the lookups know no broker")
	}
	member, err := c.memberFor(s, wanted)
	if err != nil {
		return err
	}
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(wanted.Topics)) {
		changes = append(changes, c.topicChanges(s, name, wanted.Topics[name], member)...)
	}
	if c.prune {
		changes = append(changes, c.prunes(s, wanted)...)
	}
	return c.carryOut(changes)
}

// memberFor returns a broker of the cluster that is asked to make the replicated topics that are wanted; empty when none has to be made. The error is of a
// topic that cannot become what is wanted.
func (c *call) memberFor(s *survey, wanted *definitions.Definitions) (member string, err error) {
	all, _ := s.merged()
	for _, name := range slices.Sorted(maps.Keys(wanted.Topics)) {
		want, is := wanted.Topics[name].Replicas, all.Topics[name]
		serve := wanted.Topics[name].Serve
		switch {
		case is == nil && want > 1 && member == "":
			if member, _, err = c.clusterAt(); err != nil {
				return "", fmt.Errorf("topic %s is to be replicated: %w", name, err)
			}
		case is != nil && want > 0 && max(is.Replicas, 1) != want:
			return "", fmt.Errorf("topic %s is to have replicas = %d, and has %d: that cannot be changed, only deleted and made anew", name, want, max(is.Replicas, 1))
		case is != nil && serve != "" && cmp.Or(is.Serve, definitions.ServeAll) != serve:
			return "", fmt.Errorf("topic %s is to have serve = %s, and has %s: that cannot be changed, only deleted and made anew", name, serve, cmp.Or(is.Serve, definitions.ServeAll))
		}
	}
	return member, nil
}

// topicChanges are what one topic lacks. The topic is made with its channels before anything else, and paused before its channels are
// made where it is to be paused, so that no message goes where it is not to go. A replicated topic is made at member, and known to all then.
func (c *call) topicChanges(s *survey, name string, want *definitions.Topic, member string) (list []change) {
	brokers := s.has(name)
	switch {
	case len(brokers) == 0 && want.Replicas > 1:
		brokers = []string{member}
		list = append(list, change{"+ topic " + name + ", replicated", false, []step{{address: member, path: replicatedPath(name, want.Serve), made: name}}})
	case len(brokers) == 0:
		brokers = s.brokers
		list = append(list, change{"+ topic " + name, false,
			append(steps(c.fleet.Lookups(), query("/topic/create", name, "")), steps(brokers, query("/topic/create", name, ""))...)})
	}
	for _, address := range brokers {
		is := s.by[address].Topics[name]
		if is == nil {
			is = new(definitions.Topic)
		}
		list = append(list, pauseChange(address, "topic", name, "", is.Paused, want.Paused)...)
		list = append(list, optionChanges(address, "topic", name, "", is.Options, want.Options)...)
		for _, channel := range slices.Sorted(maps.Keys(want.Channels)) {
			has := is.Channels[channel]
			if has == nil {
				has = new(definitions.Channel)
				list = append(list, change{fmt.Sprintf("+ channel %s/%s at %s", name, channel, address), false,
					steps([]string{address}, query("/channel/create", name, channel))})
			}
			list = append(list, pauseChange(address, "channel", name, channel, has.Paused, want.Channels[channel].Paused)...)
			list = append(list, optionChanges(address, "channel", name, channel, has.Options, want.Channels[channel].Options)...)
		}
	}
	return list
}

func pauseChange(address, kind, topic, channel string, is, want bool) []change {
	if is == want {
		return nil
	}
	act := "unpause"
	if want {
		act = "pause"
	}
	name := topic
	if channel != "" {
		name += "/" + channel
	}
	return []change{{fmt.Sprintf("~ %s %s %s at %s", act, kind, name, address), false,
		steps([]string{address}, query("/"+kind+"/"+act, topic, channel))}}
}

// optionChanges sets the options that differ, those of one topic or channel at one broker together.
func optionChanges(address, kind, topic, channel string, is, want map[string]any) []change {
	differ := make(map[string]any)
	text := fmt.Sprintf("~ topic %s at %s:", topic, address)
	if channel != "" {
		text = fmt.Sprintf("~ channel %s/%s at %s:", topic, channel, address)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !equal(is[key], want[key]) {
			differ[key] = want[key]
			text += fmt.Sprintf(" %s=%v (is %v)", key, want[key], cmp.Or(is[key], any("not set")))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	body, err := json.Marshal(differ)
	if err != nil { // a value that TOML has and JSON has not, such as infinity
		body = []byte("null")
	}
	return []change{{text, false, []step{{address: address, path: query("/"+kind+"/config", topic, channel), body: body}}}}
}

// equal compares values that came by TOML or JSON, where numbers have other types.
func equal(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y) || reflect.DeepEqual(a, b)
}

// prunes delete what the file does not name. Lookups come first, so that nothing is announced anew.
func (c *call) prunes(s *survey, wanted *definitions.Definitions) (list []change) {
	all, _ := s.merged()
	for _, name := range slices.Sorted(maps.Keys(all.Topics)) {
		want := wanted.Topics[name]
		if want == nil {
			path := query("/topic/delete", name, "")
			list = append(list, change{"- topic " + name, true, append(steps(c.fleet.Lookups(), path), steps(s.has(name), path)...)})
			continue
		}
		for _, channel := range slices.Sorted(maps.Keys(all.Topics[name].Channels)) {
			if want.Channels[channel] != nil {
				continue
			}
			path := query("/channel/delete", name, channel)
			var brokers []string
			for _, address := range s.has(name) {
				if s.by[address].Topics[name].Channels[channel] != nil {
					brokers = append(brokers, address)
				}
			}
			list = append(list, change{"- channel " + name + "/" + channel, true, append(steps(c.fleet.Lookups(), path), steps(brokers, path)...)})
		}
	}
	return list
}

// carryOut shows the differences and, unless it is a dry run, removes them, one after another.
func (c *call) carryOut(changes []change) error {
	destroyed := 0
	texts := []string{}
	for _, one := range changes {
		if one.destroy {
			destroyed++
		}
		texts = append(texts, one.text)
	}
	if !c.json {
		for _, text := range texts {
			fmt.Fprintln(c.out, text)
		}
	}
	if destroyed > 0 {
		if err := c.ask("delete %d topics and channels with their messages", destroyed); err != nil {
			return err
		}
	}
	if len(changes) == 0 && !c.json {
		c.env.Note("nothing differs")
	}
	if c.dryRun || len(changes) == 0 {
		if c.json {
			return c.encode(map[string]any{"changes": texts, "failures": []result{}})
		}
		return nil
	}
	return c.carry(changes, texts)
}

// carry sends the changes' requests. One that fails does not keep the others from being tried.
func (c *call) carry(changes []change, texts []string) error {
	quiet := *c
	quiet.json = true // what is fine was shown already
	for _, one := range changes {
		for _, s := range one.steps {
			quiet.send([]step{s}) // in order
			if last := &quiet.results[len(quiet.results)-1]; last.Result == resultAbsent && !one.destroy {
				last.Result, last.Error = resultFailed, "what it is about is not there"
			}
			if s.made != "" {
				c.awaitTopic(s.address, s.made)
			}
		}
	}
	failures := []result{}
	for _, r := range quiet.results {
		if r.Result == resultFailed {
			failures = append(failures, r)
		}
	}
	if c.json {
		if err := c.encode(map[string]any{"changes": texts, "failures": failures}); err != nil {
			return err
		}
	} else {
		for _, r := range failures {
			c.tell(r)
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d of %d requests failed", len(failures), len(quiet.results))
	}
	return nil
}

// Bounds of how long a replicated topic is waited for, and how often it is asked for.
const (
	madeWithin = 10 * time.Second
	madePause  = 100 * time.Millisecond
)

// awaitTopic waits until the leader of a replicated topic answers by way of a broker: what follows is about the topic.
func (c *call) awaitTopic(address, topic string) {
	ctx, cancel := context.WithTimeout(c.ctx, madeWithin)
	defer cancel()
	var options json.RawMessage
	for c.fleet.Get(ctx, address, query("/topic/config", topic, ""), &options) != nil && rest(ctx, madePause) == nil {
	}
}
