package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"brokerd/protocol"
	"brokerd/protocol/keyrule"
)

// Option is one option of topics and channels.
type Option struct {
	Name      string
	Help      string
	Default   any    // as its values are: string, int64 or bool
	Allowed   string // "must be ..."
	Channel   string // the same for a channel; empty: what Allowed says
	TopicOnly bool
	Own       bool // a channel does not take it over from its topic
	Level     bool // it is kept as the topic's level, not in a Set

	Unreplicated string // why a replicated topic, and its channels, do not have it; empty: they do
	Partly       string // what of it they have, when that is not all

	parse func(json.RawMessage) (any, error)
	apply func(*Policy, any) // nil: not in a policy
}

func (o *Option) allowedAt(at Place) string {
	if at.Channel != "" && o.Channel != "" {
		return o.Channel
	}
	return o.Allowed
}

const (
	year      = 365 * 24 * time.Hour
	maxNumber = 1<<53 - 1 // that every reader of JSON reads exactly

	maxDedupWindow = 30 * 24 * time.Hour
	maxDedupKeys   = 100_000_000

	maxOrderedAhead = 1_000_000
)

// Table is the options, by name. It is the only list of them: checks, patterns, answers of HTTP and the documentation are made of it.
var Table = func() []Option {
	list := []Option{
		{Name: "durability", Help: "When a publish is answered, and what survives a crash.", Default: "", TopicOnly: true, Level: true,
			Allowed: "must be memory, disk or fsync"},
		number("max_attempts", "Deliveries of a message after which it is a dead letter. By default there is no limit.", 1, math.MaxUint16,
			func(p *Policy, n int64) { p.MaxAttempts = uint16(n) }),
		{Name: "backoff", Help: "How long a message waits that comes back by a timeout or a lost connection before it is delivered again.", Default: "",
			Allowed: "must be fixed:5s, list:1s,10s,1m or exponential:1s..15m, with up to 64 times from 1ms to 24h, or an empty text for none"},
		{Name: "backoff_requeue", Help: "Whether a message that a consumer requeues without a delay waits as backoff says, too.", Default: false,
			Allowed: "must be true or false", parse: parseBool, apply: func(p *Policy, v any) { p.BackoffRequeue = v.(bool) }},
		{Name: "dead_letter", Help: "The topic that dead letters go to, in place of TOPIC.CHANNEL.dlq, or discard: they are discarded and counted.", Default: "",
			Allowed: "must be the name of a topic that is not ephemeral, the word discard, or an empty text for TOPIC.CHANNEL.dlq",
			apply:   func(p *Policy, v any) { p.DeadLetter = v.(string) }},
		number("max_depth", "Bound on the messages that a channel, or a topic without channels, holds: waiting, deferred and in flight. 0: none.", 0, maxNumber,
			func(p *Policy, n int64) { p.MaxDepth = n }),
		{Name: "max_bytes", Help: "Bound on the bytes of the bodies of those messages. 0: none.", Default: int64(0),
			Allowed: string(bytesAllowed),
			parse:   parseBytes, apply: func(p *Policy, v any) { p.MaxBytes = v.(int64) }},
		{Name: "overflow", Default: Reject.String(),
			Help:    "What happens at a bound: reject refuses publishes, drop-oldest discards what waits for longest, dead-letter moves that to the dead letter topic.",
			Allowed: "must be reject, drop-oldest or dead-letter",
			Channel: "must be drop-oldest or dead-letter, as one channel must not refuse publishes for the rest",
			parse:   parseOverflow, apply: func(p *Policy, v any) { p.Overflow = Overflow(slices.Index(overflowNames[:], v.(string))) }},
		duration("ttl", "Age at which a message is discarded unless it is in flight. 0s: never.", time.Millisecond, year,
			func(p *Policy, d time.Duration) { p.TTL = d }),
		own(duration("idle_delete", "Time without consumers, publishes and messages after which the topic or channel is deleted. 0s: never.", time.Second, year,
			func(p *Policy, d time.Duration) { p.IdleDelete = d })),
		number("max_in_flight", "Messages that all consumers of a channel together may have in flight. 0: no limit.", 0, math.MaxInt32,
			func(p *Policy, n int64) { p.MaxInFlight = int(n) }),
		duration("msg_timeout", "Time in flight of messages to consumers that ask for none. 0s: what --msg-timeout says.", time.Millisecond, 24*time.Hour,
			func(p *Policy, d time.Duration) { p.MsgTimeout = d }),
		ofTopic(duration("dedup_window", "How long the deduplication key of a publish is remembered: another with that key is answered OK and not stored. 0s: not at all.",
			time.Second, maxDedupWindow, func(p *Policy, d time.Duration) { p.DedupWindow = d })),
		ofTopic(otherwise(DefaultDedupMax, number("dedup_max", "Deduplication keys that are remembered. Beyond it the oldest are forgotten early.", 1, maxDedupKeys,
			func(p *Policy, n int64) { p.DedupMax = n }))),
		ofTopic(Option{Name: "dedup_from", Help: "Where the deduplication key of a message is, when the publish does not say one.", Default: "word",
			Allowed: keyrule.Allowed}),
		ofTopic(Option{Name: "ordered", Help: "Whether on each channel one message of a key is out at a time, and messages of a key are first delivered in their order.",
			Default: false, Allowed: "must be true or false", parse: parseBool, apply: func(p *Policy, v any) { p.Ordered = v.(bool) }}),
		ofTopic(otherwise(DefaultOrderedAhead, number("ordered_ahead", "Places of a channel for messages that wait for the turn of their key; then it reads no further.", 1, maxOrderedAhead,
			func(p *Policy, n int64) { p.OrderedAhead = n }))),
		ofTopic(Option{Name: "key_from", Help: "Where the key that orders a message is, when the publish does not say one.", Default: "word",
			Allowed: keyrule.Allowed}),
		ofTopic(Option{Name: "key_required", Help: "Whether publishes of messages without such a key are refused.", Default: false,
			Allowed: "must be true or false", parse: parseBool, apply: func(p *Policy, v any) { p.KeyRequired = v.(bool) }}),
		ofTopic(Option{Name: "channel_start", Help: "Where channels begin that are made without a place, as by SUB, of what retain_time and retain_bytes keep.",
			Default: "end", Allowed: startAllowed, parse: textOr(startAllowed, parseStart), apply: func(p *Policy, v any) { p.ChannelStart = v.(string) }}),
		ofTopic(duration("retain_time", "How long messages are kept after they came, also when every channel has finished them. 0s: no longer than they are needed.",
			time.Second, 10*year, func(p *Policy, d time.Duration) { p.RetainTime = d })),
		ofTopic(Option{Name: "retain_bytes", Help: "Bytes of messages that are kept, also when every channel has finished them. 0: no more than are needed.",
			Default: int64(0), Allowed: string(bytesAllowed), parse: parseBytes, apply: func(p *Policy, v any) { p.RetainBytes = v.(int64) }}),
		ofTopic(Option{Name: "trace", Help: "Whether the log says to which consumer messages went and from whom they came back, for the history of a message.",
			Default: false, Allowed: "must be true or false", parse: parseBool, apply: func(p *Policy, v any) { p.Trace = v.(bool) }}),
		ofTopic(Option{Name: "acks", Help: "When a publish is answered that does not say it: 0 at once, 1 or all once it is as safe as durability says; of a replicated topic 1 once its leader has it so, all once a majority has.",
			Default: AcksAll.String(), Allowed: acksAllowed, parse: parseAcks,
			apply: func(p *Policy, v any) { p.Acks, _ = ParseAcks(v.(string)) }}), // it was parsed before
		ofTopic(Option{Name: "acks_min", Help: "The least that a publish may ask for with acks; one that asks for less is refused.",
			Default: AcksNone.String(), Allowed: acksAllowed, parse: parseAcks,
			apply: func(p *Policy, v any) { p.AcksMin, _ = ParseAcks(v.(string)) }}),
	}
	for i := range list {
		list[i].Unreplicated, list[i].Partly = unreplicated[list[i].Name], partly[list[i].Name]
		switch o := &list[i]; o.Name {
		case "durability":
			o.parse = oneOf(o.Allowed, "memory", "disk", "fsync")
		case "backoff":
			o.parse = textOr(o.Allowed, func(text string) (string, error) {
				_, err := ParseBackoff(text)
				return text, err
			})
			o.apply = func(p *Policy, v any) { p.Backoff, _ = ParseBackoff(v.(string)) } // it was parsed before
		case "dedup_from", "key_from":
			o.parse = textOr(o.Allowed, func(text string) (string, error) {
				_, err := keyrule.Parse(text)
				return text, err
			})
			if o.Name == "key_from" {
				o.apply = func(p *Policy, v any) { p.KeyFrom, _ = keyrule.Parse(v.(string)) } // the same
				break
			}
			o.apply = func(p *Policy, v any) { p.DedupFrom, _ = keyrule.Parse(v.(string)) } // it was parsed before
		case "dead_letter":
			o.parse = textOr(o.Allowed, func(text string) (string, error) {
				if text != "" && (!protocol.ValidName(text) || protocol.IsEphemeral(text)) {
					return "", errValue
				}
				return text, nil
			})
		}
	}
	return list
}()

// unreplicated is why replicated topics do not have some options, and partly what of others they have.
var (
	unreplicated = map[string]string{
		"idle_delete":  "no replicated topic, nor a channel of one, is deleted by itself yet",
		"dedup_window": noDedup, "dedup_max": noDedup, "dedup_from": noDedup,
		"ordered": noOrder, "ordered_ahead": noOrder, "key_from": noOrder, "key_required": noOrder,
		"retain_time": noRetention, "retain_bytes": noRetention, "channel_start": noRetention,
		"trace": "the log of a replicated topic does not say yet to which consumer messages went",
	}
	partly = map[string]string{"durability": "fsync", "max_attempts": "with dead_letter discard", "dead_letter": "discard", "overflow": "reject, drop-oldest"}
)

const (
	noDedup     = "a replicated topic knows no deduplication keys yet"
	noOrder     = "a replicated topic keeps no order by key yet"
	noRetention = "a replicated topic keeps no messages yet that are finished"
)

// Lookup returns the option of that name, nil when there is none.
func Lookup(name string) *Option {
	for i := range Table {
		if Table[i].Name == name {
			return &Table[i]
		}
	}
	return nil
}

// Names returns the names of the options of topics, or of channels, sorted.
func Names(channel bool) []string {
	var names []string
	for i := range Table {
		if !channel || !Table[i].TopicOnly {
			names = append(names, Table[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

func own(o Option) Option {
	o.Own = true
	return o
}

func ofTopic(o Option) Option {
	o.TopicOnly = true
	return o
}

func otherwise(value int64, o Option) Option {
	o.Default = value
	return o
}

// number is an option that is a whole number.
func number(name, help string, low, high int64, apply func(*Policy, int64)) Option {
	allowed := fmt.Sprintf("must be a whole number from %d to %d", low, high)
	return Option{Name: name, Help: help, Default: int64(0), Allowed: allowed,
		parse: func(raw json.RawMessage) (any, error) {
			var n int64
			if err := json.Unmarshal(raw, &n); err != nil || n < low || n > high || string(raw) == "null" {
				return nil, must(allowed)
			}
			return n, nil
		},
		apply: func(p *Policy, v any) { apply(p, v.(int64)) }}
}

// duration is an option that is a time, as a text; 0s is none.
func duration(name, help string, low, high time.Duration, apply func(*Policy, time.Duration)) Option {
	allowed := fmt.Sprintf("must be a text as 90s, 15m, 12h or 7d, from %s to %s, or 0s", FormatDuration(low), FormatDuration(high))
	return Option{Name: name, Help: help, Default: "0s", Allowed: allowed,
		parse: textOr(allowed, func(text string) (string, error) {
			d, err := ParseDuration(text)
			if err == nil && d != 0 && (d < low || d > high) {
				err = errValue
			}
			return FormatDuration(d), err
		}),
		apply: func(p *Policy, v any) {
			d, _ := ParseDuration(v.(string)) // it was parsed before
			apply(p, d)
		}}
}

// textOr is a parser of texts: value returns one as it is kept.
func textOr(allowed string, value func(text string) (string, error)) func(json.RawMessage) (any, error) {
	return func(raw json.RawMessage) (any, error) {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil || string(raw) == "null" {
			return nil, must(allowed)
		}
		text, err := value(text)
		if err != nil {
			return nil, must(allowed)
		}
		return text, nil
	}
}

func oneOf(allowed string, words ...string) func(json.RawMessage) (any, error) {
	return textOr(allowed, func(text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", errValue
		}
		return text, nil
	})
}

func parseOverflow(raw json.RawMessage) (any, error) {
	return oneOf("must be "+strings.Join(overflowNames[:], ", "), overflowNames[:]...)(raw)
}

func parseBool(raw json.RawMessage) (any, error) {
	switch string(raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return nil, must("must be true or false")
}

const startAllowed = "must be end, beginning, or a time back such as -24h or -7d"

// parseStart checks the option channel_start.
func parseStart(text string) (string, error) {
	if text == "end" || text == "beginning" {
		return text, nil
	}
	ago, back := strings.CutPrefix(text, "-")
	if d, err := ParseDuration(ago); !back || err != nil || d == 0 {
		return "", errValue
	}
	return text, nil
}
