package brokerctl

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"brokerd/apps/internal/definitions"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

// survey is what each broker has now.
type survey struct {
	brokers []string
	by      map[string]*definitions.Definitions // by broker
}

// look asks every broker. Of a replicated topic a replica that does not lead may lack the newest, as a channel.
func (c *call) look() (*survey, []fleet.Failure) {
	brokers, failures := c.fleet.Brokers(c.ctx, "")
	s := &survey{by: make(map[string]*definitions.Definitions)}
	led := make(map[string]bool)
	leads := make(map[string]string) // who speaks for a replicated topic: its leader, or the first replica when nobody says that it leads
	for _, a := range fleet.Each(brokers, c.definitionsOf) {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
			continue
		}
		s.brokers = append(s.brokers, a.Address)
		s.by[a.Address] = a.Value.Definitions
		for name, t := range a.Value.Topics {
			if t.Replicas > 1 && (leads[name] == "" || slices.Contains(a.Value.leads, name)) {
				leads[name] = a.Address
			}
			led[name] = led[name] || slices.Contains(a.Value.leads, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(leads)) {
		if !led[name] {
			c.env.Note("topic %s is led by none of the brokers that were asked: what they tell of it may be old", name)
		}
	}
	for address, d := range s.by {
		maps.DeleteFunc(d.Topics, func(name string, t *definitions.Topic) bool { return t.Replicas > 1 && leads[name] != address })
	}
	return s, failures
}

// defined is what one broker has.
type defined struct {
	*definitions.Definitions
	leads []string // replicated topics
}

// definitionsOf asks one broker.
func (c *call) definitionsOf(address string) (d defined, err error) {
	answer := c.fleet.Stats(c.ctx, []string{address}, fleet.Query{})[0]
	if answer.Err != nil {
		return d, answer.Err
	}
	d.Definitions = &definitions.Definitions{Topics: make(map[string]*definitions.Topic)}
	anyReplicated := false
	for i := range answer.Value.Topics {
		from := &answer.Value.Topics[i]
		if definitions.Ephemeral(from.TopicName) {
			continue
		}
		t := &definitions.Topic{Paused: from.Paused, Channels: make(map[string]*definitions.Channel)}
		for j := range from.Channels {
			if ch := &from.Channels[j]; !definitions.Ephemeral(ch.ChannelName) {
				t.Channels[ch.ChannelName] = &definitions.Channel{Paused: ch.Paused}
			}
		}
		if from.Role != "" {
			t.Replicas, anyReplicated = replicated, true
		}
		if from.Role == fleet.Leader {
			d.leads = append(d.leads, from.TopicName)
		}
		d.Topics[from.TopicName] = t
		var options httpapi.Options
		err := c.fleet.Get(c.ctx, address, query("/topic/config", from.TopicName, ""), &options)
		switch {
		case fleet.HasNoRoute(err): // nsqd's topics have no options
			continue
		case err != nil:
			return d, err
		}
		t.Options = options.Set()
		for name, set := range options.Channels {
			if ch := t.Channels[name]; ch != nil {
				ch.Options = set
			}
		}
	}
	if anyReplicated {
		return d, c.served(address, d.Definitions)
	}
	return d, nil
}

// served completes what a broker has by which of its replicated topics lookups are told of by their leaders alone.
func (c *call) served(address string, d *definitions.Definitions) error {
	var v httpapi.Cluster
	if err := c.fleet.Get(c.ctx, address, "/cluster", &v); err != nil {
		return err
	}
	for i := range v.Groups {
		for _, in := range v.Groups[i].Topics {
			if t := d.Topics[in.Name]; t != nil && t.Replicas > 1 && in.Serve != definitions.ServeAll {
				t.Serve = in.Serve
			}
		}
	}
	return nil
}

// merged is what the brokers have together: a topic or channel that any has, paused where any has it paused. differences name
// where they are not of one mind.
func (s *survey) merged() (all *definitions.Definitions, differences []string) {
	all = &definitions.Definitions{Topics: make(map[string]*definitions.Topic)}
	for _, address := range s.brokers {
		for name, t := range s.by[address].Topics {
			sum := all.Topics[name]
			if sum == nil {
				sum = &definitions.Topic{Paused: t.Paused, Replicas: t.Replicas, Serve: t.Serve, Options: maps.Clone(t.Options), Channels: make(map[string]*definitions.Channel)}
				all.Topics[name] = sum
			}
			if sum.Paused != t.Paused {
				differences = append(differences, "topic "+name+" is not paused everywhere")
			}
			if sum.Replicas != t.Replicas {
				differences = append(differences, "topic "+name+" is replicated, and one broker has another one of that name")
			}
			sum.Paused, sum.Replicas = sum.Paused || t.Paused, max(sum.Replicas, t.Replicas)
			for _, key := range differ(sum.Options, t.Options) {
				differences = append(differences, fmt.Sprintf("topic %s has not the same %s everywhere", name, key))
			}
			for channel, c := range t.Channels {
				had := sum.Channels[channel]
				if had == nil {
					had = &definitions.Channel{Paused: c.Paused, Options: c.Options}
					sum.Channels[channel] = had
				}
				if had.Paused != c.Paused {
					differences = append(differences, fmt.Sprintf("channel %s of topic %s is not paused everywhere", channel, name))
				}
				had.Paused = had.Paused || c.Paused
				for _, key := range differ(had.Options, c.Options) {
					differences = append(differences, fmt.Sprintf("channel %s of topic %s has not the same %s everywhere", channel, name, key))
				}
			}
		}
	}
	slices.Sort(differences)
	return all, slices.Compact(differences)
}

// differ returns the options that are not the same in both.
func differ(a, b map[string]any) (keys []string) {
	for key, value := range a {
		if !reflect.DeepEqual(b[key], value) {
			keys = append(keys, key)
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// has returns the brokers that have a topic.
func (s *survey) has(topic string) (list []string) {
	for _, address := range s.brokers {
		if s.by[address].Topics[topic] != nil {
			list = append(list, address)
		}
	}
	return list
}
