package definitions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"brokerd/protocol"
	"brokerd/protocol/wholefile"

	"github.com/BurntSushi/toml"
)

// Definitions are the topics and channels that a cluster has, or is to have. In a file they are TOML or JSON:
//
//	[topic.orders]
//	paused = false
//	options = { durability = "fsync" }
//	[topic.orders.channel.billing]
//	paused = true
//	options = { max_attempts = 10 }
type Definitions struct {
	Topics map[string]*Topic `toml:"topic" json:"topic"`
}

// Topic is one topic. Options that are not named stay as they are.
type Topic struct {
	Paused   bool                `toml:"paused" json:"paused"`
	Replicas int                 `toml:"replicas,omitzero" json:"replicas,omitempty"` // 1, or 3 of a replicated topic; 0: as it is, and 1 when it is made
	Serve    string              `toml:"serve,omitempty" json:"serve,omitempty"`      // of a replicated topic: leader, or all; empty: as it is, and all when it is made
	Options  map[string]any      `toml:"options,omitempty" json:"options,omitempty"`
	Channels map[string]*Channel `toml:"channel,omitempty" json:"channel,omitempty"`
}

// Which brokers that have a replica of a topic tell lookups so.
const (
	ServeAll    = "all"
	ServeLeader = "leader"
)

// Channel is one channel. Options that are not named stay as they are.
type Channel struct {
	Paused  bool           `toml:"paused" json:"paused"`
	Options map[string]any `toml:"options,omitempty" json:"options,omitempty"`
}

// Write writes the definitions, sorted by name.
func (d *Definitions) Write(w io.Writer, asJSON bool) error {
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

// Read reads a file, or the input for "-", of 16 MiB at most. What it does not know is an error: a word that is mistyped would undo what it
// was meant for.
func Read(path string, stdin io.Reader) (*Definitions, error) {
	var text []byte
	var err error
	if path == "-" {
		path = "the input"
		if text, err = io.ReadAll(io.LimitReader(stdin, wholefile.Most+1)); len(text) > wholefile.Most {
			err = fmt.Errorf("%s has more than %d bytes", path, wholefile.Most)
		}
	} else {
		text, err = wholefile.Read(path)
	}
	if err != nil {
		return nil, err
	}
	d, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// Parse reads the text of a file, and fills what it leaves out. An error says what is wrong, and of what.
func Parse(text []byte) (*Definitions, error) {
	d := new(Definitions)
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
	if kind := meta.Type("topic"); kind != "" && kind != "Hash" { // empty for a table that only its parts' names tell of
		return nil, errors.New("topic must be a table, as in [topic.orders]")
	}
	for _, key := range meta.Undecoded() {
		if !slices.Contains(key, "options") {
			return nil, fmt.Errorf("%s is not known: there is topic.NAME with paused, replicas, serve, options and channel.NAME, and that with paused and options", key)
		}
	}
	return d, d.check()
}

// check validates the names, and fills what is left out.
func (d *Definitions) check() error {
	if d.Topics == nil {
		d.Topics = make(map[string]*Topic)
	}
	for name, t := range d.Topics {
		if !protocol.ValidName(name) {
			return fmt.Errorf("%q is no valid name of a topic", name)
		}
		if Ephemeral(name) {
			return fmt.Errorf("topic %s goes away by itself: a file cannot define it", name)
		}
		if t == nil {
			t = new(Topic)
			d.Topics[name] = t
		}
		if t.Replicas != 0 && t.Replicas != 1 && t.Replicas != 3 {
			return fmt.Errorf("topic %s: replicas must be 1 or 3, not %d", name, t.Replicas)
		}
		switch {
		case t.Serve != "" && t.Serve != ServeAll && t.Serve != ServeLeader:
			return fmt.Errorf("topic %s: serve must be %s or %s, not %q", name, ServeAll, ServeLeader, t.Serve)
		case t.Serve != "" && t.Replicas != 3:
			return fmt.Errorf("topic %s: serve is of a topic with replicas = 3", name)
		}
		for channel, c := range t.Channels {
			if !protocol.ValidName(channel) {
				return fmt.Errorf("%q is no valid name of a channel", channel)
			}
			if Ephemeral(channel) {
				return fmt.Errorf("channel %s of topic %s goes away by itself: a file cannot define it", channel, name)
			}
			if c == nil {
				t.Channels[channel] = new(Channel)
			}
		}
	}
	return nil
}

// Ephemeral reports whether a topic or channel goes away by itself, and so is nobody's to define.
func Ephemeral(name string) bool { return strings.HasSuffix(name, "#ephemeral") }
