package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"path"
	"slices"
	"strings"

	"brokerd/protocol"
)

// Set is the options that were set for one topic or channel. It is never changed, only replaced; nil is an empty one.
type Set struct {
	raw    map[string]json.RawMessage // as they were given, those that are not known too
	values map[string]any             // of those that are known and have a value that can be
}

// Kept returns the set that a log or a list of topics has. What is not known there, or has a value that cannot be, has no effect and is
// kept as it is: it is of a newer build.
func Kept(raw map[string]json.RawMessage) *Set {
	if len(raw) == 0 {
		return nil
	}
	s := &Set{raw: maps.Clone(raw), values: map[string]any{}}
	for name, value := range raw {
		if o := Lookup(name); o != nil {
			if v, err := o.parse(value); err == nil {
				s.values[name] = v
			}
		}
	}
	return s
}

// Raw returns the options as they are to be kept, nil when there are none. It must not be changed.
func (s *Set) Raw() map[string]json.RawMessage {
	if s == nil || len(s.raw) == 0 {
		return nil
	}
	return s.raw
}

// Values returns the options that are known and have a value that can be, by name. It must not be changed.
func (s *Set) Values() map[string]any {
	if s == nil {
		return nil
	}
	return s.values
}

func (s *Set) value(name string) (v any, ok bool) {
	if s == nil {
		return nil, false
	}
	v, ok = s.values[name]
	return v, ok
}

// With returns the set with changes, of which null puts an option back to its default. It fails with an Error, which names the option and
// says what is allowed. channel says whose options they are.
func (s *Set) With(changes map[string]json.RawMessage, channel bool) (*Set, error) {
	next := maps.Clone(s.Raw())
	if next == nil {
		next = map[string]json.RawMessage{}
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		value := changes[name]
		if string(value) == "null" && (s.Raw()[name] != nil || Lookup(name) != nil) {
			delete(next, name)
			continue
		}
		o, v, err := parse(name, value, channel)
		if err != nil {
			return nil, err
		}
		if next[o.Name] = encode(v); o.Level {
			delete(next, o.Name) // it is kept apart
		}
	}
	return Kept(next), nil
}

// parse returns the option of that name and the value in the form in which it is kept.
func parse(name string, raw json.RawMessage, channel bool) (*Option, any, error) {
	o := Lookup(name)
	switch {
	case o == nil:
		return nil, nil, &Error{Name: name, Unknown: Names(channel)}
	case channel && o.TopicOnly:
		return nil, nil, &Error{Name: name, Unknown: Names(channel)}
	}
	v, err := o.parse(raw)
	if err == nil && channel && v == Reject.String() {
		err = errors.New(o.allowedAt(Place{Channel: "c"}))
	}
	if err != nil {
		return nil, nil, &Error{Name: name, Text: err.Error(), Value: raw}
	}
	return o, v, nil
}

// Error says which option cannot be as it is asked for, and what is allowed.
type Error struct {
	Name    string
	Text    string          // what is allowed, from the word "must" on, or why it cannot be
	Value   json.RawMessage // that was asked for
	Unknown []string        // of an option that there is not: those that there are
}

func (e *Error) Error() string {
	if e.Unknown != nil {
		if e.Name == "replicas" {
			return noReplicas
		}
		return fmt.Sprintf("%q is no option here; there is %s", e.Name, strings.Join(e.Unknown, ", "))
	}
	if !strings.HasPrefix(e.Text, "must") {
		return fmt.Sprintf("%s: %s", e.Name, e.Text)
	}
	return fmt.Sprintf("%s: %s, not %s", e.Name, e.Text, short(e.Value))
}

// short returns a value for an error's text.
func short(value []byte) string {
	const most = 100
	if len(value) > most {
		return strings.ToValidUTF8(string(value[:most]), "") + "..."
	}
	return string(value)
}

// Pattern is options for all topics, or channels, whose name fits.
type Pattern struct {
	Match  string // of a topic as orders.*, of a channel as orders.*/billing
	values map[string]any
}

// ParsePattern reads one pattern of the configuration: PATTERN NAME=VALUE [NAME=VALUE ...].
func ParsePattern(text string, channel bool) (Pattern, error) {
	form := "must be PATTERN NAME=VALUE [NAME=VALUE ...], as orders.* max_depth=1000000"
	if channel {
		form = "must be TOPIC/CHANNEL NAME=VALUE [NAME=VALUE ...], patterns both, as orders.*/* max_attempts=10"
	}
	words := strings.Fields(text)
	if len(words) < 2 {
		return Pattern{}, errors.New(form)
	}
	p := Pattern{Match: words[0], values: map[string]any{}}
	if _, err := path.Match(p.Match, ""); err != nil || strings.Count(p.Match, "/") != map[bool]int{true: 1}[channel] {
		return Pattern{}, errors.New(form)
	}
	for _, word := range words[1:] {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return Pattern{}, errors.New(form)
		}
		o, v, err := parse(name, plain(value), channel)
		if err != nil {
			return Pattern{}, err
		}
		p.values[o.Name] = v
	}
	return p, nil
}

// ParsePatterns reads the patterns of the configuration, in order. Texts were perhaps taken apart at commas, as an environment variable's
// are: what has no blank in it goes on where the one before it ended, and so does a time behind a list of times.
func ParsePatterns(texts []string, channel bool) (list []Pattern, bad string, err error) {
	var whole []string
	for _, text := range texts {
		if k := len(whole) - 1; k >= 0 && goesOn(whole[k], text) {
			whole[k] += "," + strings.TrimSpace(text)
			continue
		}
		whole = append(whole, text)
	}
	for _, text := range whole {
		p, err := ParsePattern(text, channel)
		if err != nil {
			return nil, text, err
		}
		list = append(list, p)
	}
	return list, "", nil
}

// goesOn reports whether a text is the rest of the one before it, behind a comma.
func goesOn(before, text string) bool {
	words, last := strings.Fields(text), before[strings.LastIndexAny(before, " \t")+1:]
	if len(words) < 2 {
		return len(words) == 1
	}
	_, err := ParseDuration(words[0])
	return err == nil && strings.HasPrefix(last, "backoff=list:")
}

// plain returns the JSON of a value that is written as plain text: what is no number or boolean is a text.
func plain(text string) json.RawMessage {
	raw := json.RawMessage(text)
	switch {
	case text == "true", text == "false":
		return raw
	case text != "" && strings.Trim(text, "0123456789") == "" && json.Valid(raw):
		return raw
	}
	return encode(text)
}

// Fits reports whether a name is one that the pattern means: a topic's, or TOPIC/CHANNEL.
func (p *Pattern) Fits(name string) bool {
	ok, err := path.Match(p.Match, name)
	return ok && err == nil
}

// Value returns what the pattern says of an option.
func (p *Pattern) Value(name string) (v any, ok bool) {
	v, ok = p.values[name]
	return v, ok
}

// dlqSuffix ends the name of a dead letter topic.
const dlqSuffix = ".dlq"

// DeadLetterTopic returns the name of the topic that a channel's dead letters go to unless another is set: TOPIC.CHANNEL.dlq, cut and told
// apart by a hash when that is too long for a name.
func DeadLetterTopic(topic, channel string) string {
	name := topic + "." + channel
	if len(name)+len(dlqSuffix) <= protocol.MaxNameLength {
		return name + dlqSuffix
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(topic + "\x00" + channel)) // it never fails
	tail := fmt.Sprintf("-%016x%s", h.Sum64(), dlqSuffix)
	return name[:protocol.MaxNameLength-len(tail)] + tail
}

// noReplicas is why replicas are no option.
const noReplicas = "a topic gets its replicas when it is made, POST /topic/create?topic=NAME&replicas=3 on a broker of a cluster, and keeps them"
