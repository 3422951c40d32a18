package tracing

import (
	"encoding/json"
	"fmt"
	"strconv"

	"brokerd/protocol"
)

// OTLP's numbers for kinds of spans.
const (
	producer = 4
	consumer = 5
)

// span is one thing that happened to a message.
type span struct {
	name           string
	kind           int
	id             protocol.MessageID
	topic, channel string
	attempts       uint16 // 0 for a publish
	start, end     int64  // nanoseconds since the Unix epoch
}

// The JSON form of OTLP: ids in hex, 64-bit numbers as texts.
type (
	request struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource struct {
			Attributes []attribute `json:"attributes"`
		} `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	scopeSpans struct {
		Scope struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"scope"`
		Spans []jsonSpan `json:"spans"`
	}
	jsonSpan struct {
		TraceID      string      `json:"traceId"`
		SpanID       string      `json:"spanId"`
		ParentSpanID string      `json:"parentSpanId,omitempty"`
		Name         string      `json:"name"`
		Kind         int         `json:"kind"`
		Start        string      `json:"startTimeUnixNano"`
		End          string      `json:"endTimeUnixNano"`
		Attributes   []attribute `json:"attributes"`
	}
	attribute struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	value struct {
		String string `json:"stringValue,omitempty"`
		Int    string `json:"intValue,omitempty"`
	}
)

func text(key, v string) attribute { return attribute{key, value{String: v}} }

func number(key string, v int64) attribute {
	return attribute{key, value{Int: strconv.FormatInt(v, 10)}}
}

// encode returns the request for a batch.
func (t *Tracer) encode(batch []span) []byte {
	var r resourceSpans
	r.Resource.Attributes = t.resource
	s := scopeSpans{Spans: make([]jsonSpan, len(batch))}
	s.Scope.Name, s.Scope.Version = "brokerd", t.cfg.Version
	for i := range batch {
		s.Spans[i] = batch[i].json()
	}
	r.ScopeSpans = []scopeSpans{s}
	b, err := json.Marshal(request{[]resourceSpans{r}})
	if err != nil {
		panic(fmt.Sprintf("tracing: spans that cannot be encoded: %v", err)) // they are texts and numbers
	}
	return b
}

func (s *span) json() jsonSpan {
	published := mix(uint64(s.id))
	j := jsonSpan{
		TraceID: fmt.Sprintf("%016x%016x", mix(published), uint64(s.id)), SpanID: fmt.Sprintf("%016x", published), Name: s.name, Kind: s.kind,
		Start: strconv.FormatInt(s.start, 10), End: strconv.FormatInt(s.end, 10),
		Attributes: []attribute{text("messaging.system", "nsq"), text("messaging.destination.name", s.topic), text("messaging.message.id", s.id.String())},
	}
	if s.kind == producer {
		j.Attributes = append(j.Attributes, text("messaging.operation.type", "send"))
		return j
	}
	j.ParentSpanID = j.SpanID
	own := published ^ uint64(s.attempts)
	for _, c := range []byte(s.channel) {
		own = mix(own ^ uint64(c))
	}
	j.SpanID = fmt.Sprintf("%016x", max(own, 1)) // 0 is none
	j.Attributes = append(j.Attributes, text("messaging.operation.type", "receive"), text("messaging.consumer.group.name", s.channel),
		number("messaging.nsq.attempts", int64(s.attempts)))
	return j
}

// mix spreads a number's bits; different numbers give different ones. 0, which no message has, would be 0.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
