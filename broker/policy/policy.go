package policy

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"brokerd/protocol/keyrule"
)

// Overflow is what becomes of messages beyond a bound.
type Overflow uint8

// The ways, by their names in the option overflow.
const (
	Reject       Overflow = iota // publishes are refused
	DropOldest                   // the oldest that wait are discarded
	ToDeadLetter                 // the oldest that wait become dead letters
)

var overflowNames = [...]string{"reject", "drop-oldest", "dead-letter"}

// String returns the way's name.
func (o Overflow) String() string { return overflowNames[o] }

// Discard is the word in place of a dead letter topic's name: messages that would go there are discarded.
const Discard = "discard"

// Policy is the options that count for one channel, or for a topic itself. It is never changed, only replaced. The zero value of a field
// is the option's default, and off.
type Policy struct {
	MaxAttempts    uint16        // deliveries after which a message is a dead letter; 0: no limit
	Backoff        *Backoff      // how long a message that comes back waits; nil: not at all
	BackoffRequeue bool          // REQ with a delay of 0 waits as well
	DeadLetter     string        // topic that dead letters go to; empty: they are discarded. Only with MaxAttempts or Overflow
	MaxDepth       int64         // messages that wait, are deferred or in flight; 0: no bound
	MaxBytes       int64         // bytes of the bodies of those; 0: no bound
	Overflow       Overflow      // what happens beyond MaxDepth and MaxBytes
	TTL            time.Duration // age at which a message is of no use any more; 0: none
	IdleDelete     time.Duration // time without consumers, publishes and messages after which it is deleted; 0: never
	MaxInFlight    int           // messages in flight to all consumers together; 0: no limit
	MsgTimeout     time.Duration // of consumers that ask for none; 0: what the node says

	// Of topics only.
	DedupWindow  time.Duration // how long the deduplication key of a publish is remembered; 0: not at all
	DedupMax     int64         // keys that are remembered; 0: DefaultDedupMax
	DedupFrom    *keyrule.Rule // takes the key out of a body; nil: it is what the publish says
	Ordered      bool          // messages of one key are delivered one by one, on each channel
	OrderedAhead int64         // places of messages that wait for the turn of their key; 0: DefaultOrderedAhead
	KeyFrom      *keyrule.Rule // takes the key that orders messages out of a body; nil: it is what the publish says
	KeyRequired  bool          // publishes without such a key are refused
	// ChannelStart is the place where channels begin that are made without one; empty: the end, where the first channel of a topic gets
	// what waits there. Only with retention.
	ChannelStart string

	RetainTime  time.Duration // how long messages are kept after they came, finished or not; 0: no bound, if RetainBytes is one
	RetainBytes int64         // bytes of messages that are kept at most, finished or not; 0: no bound, if RetainTime is one
	Trace       bool          // the log says to which consumer messages went, and how they came back
	Acks        Acks          // of publishes that do not say it
	AcksMin     Acks          // least that a publish may ask for
}

// DefaultDedupMax is how many deduplication keys a topic remembers unless dedup_max says otherwise.
const DefaultDedupMax = 1_000_000

// DefaultOrderedAhead is how many places a channel has for messages that wait for the turn of their key, unless ordered_ahead says otherwise.
const DefaultOrderedAhead = 100_000

// Orders reports whether messages of one key are delivered one by one.
func (p *Policy) Orders() bool { return p != nil && p.Ordered }

// Ahead returns how many places there are for messages that wait for the turn of their key.
func (p *Policy) Ahead() int {
	if p.OrderedAhead > 0 {
		return int(p.OrderedAhead)
	}
	return DefaultOrderedAhead
}

// Dedups reports whether publishes with a key that was seen before are passed over.
func (p *Policy) Dedups() bool { return p != nil && p.DedupWindow > 0 }

// Retains reports whether messages are kept although they are finished.
func (p *Policy) Retains() bool { return p != nil && (p.RetainTime > 0 || p.RetainBytes > 0) }

// Asked returns when a publish is answered that asks for acks, or does not say it; false when it asks for less than is allowed.
func (p *Policy) Asked(acks Acks) (Acks, bool) {
	if acks != AcksUnsaid {
		return acks, p == nil || acks >= p.AcksMin
	}
	if p == nil || p.Acks == AcksUnsaid {
		return AcksAll, true
	}
	return max(p.Acks, p.AcksMin), true
}

// Bounded reports whether there is a bound on what may be held.
func (p *Policy) Bounded() bool { return p != nil && p.MaxDepth|p.MaxBytes != 0 }

// LargestBody returns how many bytes the body of a message may have.
func (p *Policy) LargestBody() int64 {
	if p == nil || p.MaxBytes == 0 {
		return math.MaxInt64
	}
	return p.MaxBytes
}

// Source is where a value comes from.
type Source string

// The sources.
const (
	ByDefault        Source = "default"
	ByNode           Source = "node"            // a setting of the node
	ByTopicPattern   Source = "topic-pattern"   // --topic-options
	ByTopic          Source = "topic"           // set for the topic
	ByChannelPattern Source = "channel-pattern" // --channel-options
	ByChannel        Source = "channel"         // set for the channel
)

// Value is what counts of one option, and why. Its JSON is what GET /topic/config and GET /channel/config show.
type Value struct {
	Value   any    `json:"value"`
	Source  Source `json:"source"`
	Pattern string `json:"pattern,omitempty"` // of a source that is one
	Off     string `json:"off,omitempty"`     // why it is not in force although it is set; empty when it is in force
	Default any    `json:"default"`
	Allowed string `json:"allowed"`
	Help    string `json:"help"`
}

// Place is whose options are asked for.
type Place struct {
	Topic   string
	Channel string // empty: the topic itself
	Logged  bool   // its messages are kept in the log: level disk or fsync, and not ephemeral

	Replicated bool // the topic is of a group of replicas

	MaxMsgTimeout time.Duration // the node's limit of msg_timeout, which Check holds to; 0: none
}

// Layer is one place where options can be: those set for a topic or channel, and the patterns that may fit it.
type Layer struct {
	Name     string // of the topic, or TOPIC/CHANNEL
	Set      *Set
	Patterns []Pattern
	Channel  bool
}

// says reports whether the layer may say something of some option.
func (l Layer) says() bool { return l.Set != nil || len(l.Patterns) > 0 }

// find returns what the layer says of an option.
func (l *Layer) find(o *Option) (v Value, ok bool) {
	v = Value{Source: ByTopic}
	if l.Channel {
		v.Source = ByChannel
	}
	if v.Value, ok = l.Set.value(o.Name); ok {
		return v, true
	}
	for i := range l.Patterns {
		p := &l.Patterns[i]
		if value, ok := p.values[o.Name]; ok && p.Fits(l.Name) {
			return Value{Value: value, Source: v.Source + "-pattern", Pattern: p.Match}, true
		}
	}
	return Value{}, false
}

// Effective returns what counts of every option at a place, by name. The first layer is the place's own; those behind it count for
// options that it takes over.
func Effective(at Place, layers ...Layer) map[string]Value {
	all := make(map[string]Value, len(Table))
	for i := range Table {
		o := &Table[i]
		if at.Channel != "" && o.TopicOnly {
			continue
		}
		v, ok := Value{}, false
		for k := 0; k < len(layers) && !ok && (k == 0 || !o.Own); k++ {
			v, ok = layers[k].find(o)
		}
		if !ok {
			v = Value{Value: o.Default, Source: ByDefault}
		}
		v.Default, v.Allowed, v.Help = o.Default, o.allowedAt(at), o.Help
		all[o.Name] = v
	}
	silence(at, all)
	return all
}

// silence says which options are not in force because of others, or of where they are.
func silence(at Place, all map[string]Value) {
	off := func(name, why string) {
		v := all[name]
		if v.Value != v.Default {
			v.Off = why
			all[name] = v
		}
	}
	if !at.Logged && at.Channel == "" {
		for _, name := range [...]string{"dedup_window", "dedup_max", "dedup_from", "acks", "acks_min", "key_from", "key_required", "ordered", "ordered_ahead", "retain_time", "retain_bytes", "channel_start", "trace"} {
			off(name, onlyLogged)
		}
	}
	if at.Replicated {
		for i := range Table {
			if o := &Table[i]; o.Unreplicated != "" && (at.Channel == "" || !o.TopicOnly) {
				off(o.Name, o.Unreplicated)
			}
		}
		if all["dead_letter"].Value != Discard {
			off("dead_letter", noDeadLetters)
		}
	}
	reason := needsLog(at, all)
	if all["dead_letter"].Value == at.Topic {
		reason = "dead_letter names the topic itself: its messages stay"
	}
	if reason != "" {
		off("max_attempts", reason)
		if all["overflow"].Value == ToDeadLetter.String() {
			off("overflow", reason)
		}
	}
	if at.Channel != "" && all["overflow"].Value == Reject.String() {
		for _, name := range [...]string{"max_depth", "max_bytes"} {
			if s := all[name].Source; s == ByChannel || s == ByChannelPattern {
				off(name, rejectOnChannel)
			}
		}
	}
}

const onlyLogged = "it needs a topic that is kept in the log: level disk or fsync, and not ephemeral"

const rejectOnChannel = "a channel's own bound needs overflow drop-oldest or dead-letter, as one channel must not refuse publishes for the rest"

const noDeadLetters = "a replicated topic has no dead letter topic yet: with dead_letter discard such messages are discarded and counted"

// needsLog returns why dead letters are not to be had, empty when they are or nobody asks for them.
func needsLog(at Place, all map[string]Value) string {
	moves := all["overflow"].Value == ToDeadLetter.String() || all["max_attempts"].Value != int64(0)
	switch {
	case !moves || all["dead_letter"].Value == Discard:
		return ""
	case at.Replicated:
		return noDeadLetters
	case at.Logged:
		return ""
	}
	return "a dead letter topic needs messages that are kept in the log: level disk or fsync, and not ephemeral; at other levels there is dead_letter discard"
}

// Of returns the policy of a place, nil when all that is in force are defaults.
func Of(at Place, layers ...Layer) *Policy {
	if !slices.ContainsFunc(layers, Layer.says) { // most topics and channels
		return nil
	}
	var p Policy
	on := false
	for name, v := range Effective(at, layers...) {
		if v.Source == ByDefault || v.Off != "" || v.Value == v.Default {
			continue
		}
		if o := Lookup(name); o.apply != nil {
			o.apply(&p, v.Value)
			on = true
		}
	}
	if !on {
		return nil
	}
	wanted := at.Logged && at.Channel != "" && (p.MaxAttempts > 0 || p.Overflow == ToDeadLetter)
	switch {
	case !wanted || p.DeadLetter == Discard:
		p.DeadLetter = ""
	case p.DeadLetter == "":
		p.DeadLetter = DeadLetterTopic(at.Topic, at.Channel)
	}
	if p == (Policy{}) {
		return nil
	}
	return &p
}

// Check returns why options that are about to be set at a place do not go together, nil when they do.
func Check(at Place, layers ...Layer) error {
	all := Effective(at, layers...)
	if all["dead_letter"].Value == at.Topic {
		return &Error{Name: "dead_letter", Text: "must be another topic than the one whose messages go there", Value: encode(at.Topic)}
	}
	for i := range Table {
		name := Table[i].Name
		if v, own := layers[0].Set.value(name); own && all[name].Off != "" {
			return &Error{Name: name, Text: all[name].Off, Value: encode(v)}
		}
	}
	if acks, least := all["acks"], all["acks_min"]; at.Channel == "" && acks.Off == "" && least.Off == "" {
		asked, _ := ParseAcks(acks.Value.(string))
		if min, _ := ParseAcks(least.Value.(string)); asked < min {
			return &Error{Name: "acks", Text: "must be at least what acks_min is, " + min.String(), Value: encode(acks.Value)}
		}
	}
	if v, own := layers[0].Set.value("msg_timeout"); own && at.MaxMsgTimeout > 0 {
		if d, _ := ParseDuration(v.(string)); d > at.MaxMsgTimeout {
			return &Error{Name: "msg_timeout", Text: "must be at most what --max-msg-timeout says, " + FormatDuration(at.MaxMsgTimeout), Value: encode(v)}
		}
	}
	return nil
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("policy: a value that cannot be encoded: " + err.Error()) // they are texts, numbers and booleans
	}
	return b
}
