package httpapi

// Messages is a broker's answer to /topic/messages and /channel/messages.
type Messages struct {
	Topic    string    `json:"topic"`
	Role     string    `json:"role,omitempty"`    // of a replicated topic, who tells: leader, or follower, whose copy may lack the newest, and does not say who has what is in flight
	Channel  string    `json:"channel,omitempty"` // whose messages they are; absent: the topic's
	State    string    `json:"state,omitempty"`   // of a channel's: waiting, in_flight or deferred
	Messages []Message `json:"messages"`          // in their order
	Next     string    `json:"next,omitempty"`    // for the argument cursor
	End      bool      `json:"end,omitempty"`     // there are no more now
	Anew     bool      `json:"anew,omitempty"`    // the cursor was of a topic that has been deleted: these are the first messages of the one that was made since
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
	Key        string            `json:"key,omitempty"`         // CRC-32C of the key that orders it, 8 hex digits; absent: it has none

	// Of a channel; absent where they say nothing. Times are RFC 3339, UTC, milliseconds.
	Attempts  uint16 `json:"attempts,omitempty"`  // deliveries so far
	Client    string `json:"client,omitempty"`    // that has it in flight
	Delivered string `json:"delivered,omitempty"` // to that
	Deadline  string `json:"deadline,omitempty"`  // when its time in flight is over
	Due       string `json:"due,omitempty"`       // of one that is deferred
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
