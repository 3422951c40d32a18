package httpapi

// Messages is a broker's answer to /topic/messages.
type Messages struct {
	Topic    string    `json:"topic"`
	Messages []Message `json:"messages"`       // in their order
	Next     string    `json:"next,omitempty"` // for the argument from; absent at the end
}

// Message is a message that is only looked at.
type Message struct {
	Position   uint64            `json:"position"`
	ID         string            `json:"id"`
	Time       string            `json:"time"`                  // when it came to the topic: RFC 3339, UTC
	Size       int               `json:"size"`                  // bytes of its body
	Body       *string           `json:"body,omitempty"`        // as much as was asked for, when that is valid UTF-8
	BodyBase64 []byte            `json:"body_base64,omitempty"` // else
	Properties map[string]string `json:"properties,omitempty"`  // what it has beside its body
}

// Redrive is dead letters on their way back to the channel that they came from, or the last ones that were.
type Redrive struct {
	From     string `json:"dead_letter_topic"`
	Running  bool   `json:"running"`
	Began    string `json:"began"`           // RFC 3339, UTC
	Ended    string `json:"ended,omitempty"` // the same
	Limit    int    `json:"limit,omitempty"` // messages; absent: all
	Rate     int    `json:"rate,omitempty"`  // messages a second; absent: no limit
	Moved    int    `json:"moved"`           // messages that went back
	InFlight int    `json:"in_flight"`       // that stay, as consumers of the dead letter topic have them
	Stopped  bool   `json:"stopped,omitempty"`
	Error    string `json:"error,omitempty"` // why it waits, or has ended
}
