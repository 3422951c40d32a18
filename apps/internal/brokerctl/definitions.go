package brokerctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol"

	"github.com/BurntSushi/toml"
)

// definitions are the topics and channels that a cluster has, or is to have. In a file they are TOML or JSON:
//
//	[topic.orders]
//	paused = false
//	options = { durability = "fsync" }
//	[topic.orders.channel.billing]
//	paused = true
type definitions struct {
	Topics map[string]*topicDefinition `toml:"topic" json:"topic"`
}

// topicDefinition is one topic. Options that are not named stay as they are.
type topicDefinition struct {
	Paused   bool                          `toml:"paused" json:"paused"`
	Options  map[string]any                `toml:"options,omitempty" json:"options,omitempty"`
	Channels map[string]*channelDefinition `toml:"channel,omitempty" json:"channel,omitempty"`
}

type channelDefinition struct {
	Paused bool `toml:"paused" json:"paused"`
}

// write writes the definitions, sorted by name.
func (d *definitions) write(w io.Writer, asJSON bool) error {
	if !asJSON {
		if _, err := io.WriteString(w, "# Topics and channels, as brokerctl dump wrote them; brokerctl apply makes them so.\n"); err != nil {
			return err
		}
		encoder := toml.NewEncoder(w)
		encoder.Indent = ""
		return encoder.Encode(d)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(d)
}

// readDefinitions reads a file, or the input for "-". What it does not know is an error: a word that is mistyped would undo what it
// was meant for.
func readDefinitions(path string, stdin io.Reader) (*definitions, error) {
	var text []byte
	var err error
	if path == "-" {
		path = "the input"
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	d, err := parseDefinitions(text)
	if err != nil {
		return nil, appkit.Usagef("%s: %w", path, err)
	}
	return d, nil
}

func parseDefinitions(text []byte) (*definitions, error) {
	d := new(definitions)
	if trimmed := bytes.TrimSpace(text); bytes.HasPrefix(trimmed, []byte("{")) {
		decoder := json.NewDecoder(bytes.NewReader(trimmed))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(d); err != nil {
			return nil, err
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return nil, errors.New("there must be one JSON object and nothing behind it")
		}
		return d, d.check()
	}
	meta, err := toml.Decode(string(text), d)
	if err != nil {
		return nil, err
	}
	for _, key := range meta.Undecoded() {
		if !slices.Contains(key, "options") {
			return nil, fmt.Errorf("%s is not known: there is topic.NAME with paused, options and channel.NAME with paused", key)
		}
	}
	return d, d.check()
}

// check validates the names, and fills what is left out.
func (d *definitions) check() error {
	if d.Topics == nil {
		d.Topics = make(map[string]*topicDefinition)
	}
	for name, t := range d.Topics {
		if !protocol.ValidName(name) {
			return fmt.Errorf("%q is no valid name of a topic", name)
		}
		if t == nil {
			t = new(topicDefinition)
			d.Topics[name] = t
		}
		for channel, c := range t.Channels {
			if !protocol.ValidName(channel) {
				return fmt.Errorf("%q is no valid name of a channel", channel)
			}
			if c == nil {
				t.Channels[channel] = new(channelDefinition)
			}
		}
	}
	return nil
}

// ephemeral reports whether a topic or channel goes away by itself, and so is nobody's to define.
func ephemeral(name string) bool { return strings.HasSuffix(name, "#ephemeral") }

// survey is what each broker has now.
type survey struct {
	brokers []string
	by      map[string]*definitions // by broker
}

// look asks every broker.
func (c *call) look() (*survey, []fleet.Failure) {
	brokers, failures := c.fleet.Brokers(c.ctx, "")
	s := &survey{by: make(map[string]*definitions)}
	for _, a := range fleet.Each(brokers, c.definitionsOf) {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
			continue
		}
		s.brokers = append(s.brokers, a.Address)
		s.by[a.Address] = a.Value
	}
	return s, failures
}

// definitionsOf asks one broker.
func (c *call) definitionsOf(address string) (*definitions, error) {
	answer := c.fleet.Stats(c.ctx, []string{address}, fleet.Query{})[0]
	if answer.Err != nil {
		return nil, answer.Err
	}
	d := &definitions{Topics: make(map[string]*topicDefinition)}
	for i := range answer.Value.Topics {
		from := &answer.Value.Topics[i]
		if ephemeral(from.TopicName) {
			continue
		}
		t := &topicDefinition{Paused: from.Paused, Channels: make(map[string]*channelDefinition)}
		for j := range from.Channels {
			if ch := &from.Channels[j]; !ephemeral(ch.ChannelName) {
				t.Channels[ch.ChannelName] = &channelDefinition{Paused: ch.Paused}
			}
		}
		d.Topics[from.TopicName] = t
		err := c.fleet.Get(c.ctx, address, query("/topic/config", from.TopicName, ""), &t.Options)
		if err != nil && !fleet.HasNoRoute(err) { // nsqd's topics have no options
			return nil, err
		}
	}
	return d, nil
}

// merged is what the brokers have together: a topic or channel that any has, paused where any has it paused. differences name
// where they are not of one mind.
func (s *survey) merged() (all *definitions, differences []string) {
	all = &definitions{Topics: make(map[string]*topicDefinition)}
	for _, address := range s.brokers {
		for name, t := range s.by[address].Topics {
			sum := all.Topics[name]
			if sum == nil {
				sum = &topicDefinition{Paused: t.Paused, Options: maps.Clone(t.Options), Channels: make(map[string]*channelDefinition)}
				all.Topics[name] = sum
			}
			if sum.Paused != t.Paused {
				differences = append(differences, "topic "+name+" is not paused everywhere")
			}
			sum.Paused = sum.Paused || t.Paused
			for key, value := range t.Options {
				if !reflect.DeepEqual(sum.Options[key], value) {
					differences = append(differences, fmt.Sprintf("topic %s has not the same %s everywhere", name, key))
				}
			}
			for channel, c := range t.Channels {
				had := sum.Channels[channel]
				if had == nil {
					had = &channelDefinition{Paused: c.Paused}
					sum.Channels[channel] = had
				}
				if had.Paused != c.Paused {
					differences = append(differences, fmt.Sprintf("channel %s of topic %s is not paused everywhere", channel, name))
				}
				had.Paused = had.Paused || c.Paused
			}
		}
	}
	slices.Sort(differences)
	return all, slices.Compact(differences)
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
