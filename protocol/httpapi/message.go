package httpapi

// MessageAt is a broker's answer to /message: one message, and where it is.
type MessageAt struct {
	Topic string `json:"topic"`
	Role  string `json:"role,omitempty"` // of a replicated topic, who tells: leader, or follower, whose copy may lack the newest, and does not say who has what is in flight
	Message
	Kept     bool               `json:"kept"`                    // the topic keeps it, whoever has finished it
	ReadFrom string             `json:"read_from,omitempty"`     // what its body is read from: memory, or segment, which is a file of the disk; absent when it is gone
	Backlog  *MessageOnChannel  `json:"backlog,omitempty"`       // it is in the topic's own backlog
	Channels []MessageOnChannel `json:"channels"`                // all of the topic, sorted by name
	Unsure   bool               `json:"letters_cut,omitempty"`   // a dead letter topic was looked through in part only: finished may be dead_letter
	Gone     bool               `json:"gone,omitempty"`          // it is not there any more: only its history is
	History  []MessageEvent     `json:"history,omitempty"`       // what the log has of it still, if that was asked for, in order
	Since    string             `json:"history_since,omitempty"` // the log goes back to about then
}

// MessageEvent is one thing that happened to a message. What says nothing is absent. Times are RFC 3339, UTC, milliseconds.
type MessageEvent struct {
	Event   string `json:"event"`             // published, failed, delivered, requeued, timed_out, disconnected, deferred, set_aside, finished, discarded, dead_lettered, redriven, rewound, channel_deleted or channel_emptied
	Time    string `json:"time,omitempty"`    // about, to the second while the log is busy
	Channel string `json:"channel,omitempty"` // absent: it is of the whole topic
	Attempt int    `json:"attempt,omitempty"` // of delivered: which it was of those that the log has
	Due     string `json:"due,omitempty"`     // of deferred, and of published when it was
	Reason  string `json:"reason,omitempty"`  // of discarded
	Client  string `json:"client,omitempty"`  // whose doing it was, where the topic had the option trace
	// Of dead_lettered and redriven: where it went; of published: where it came from.
	Topic    string `json:"topic,omitempty"`
	Position uint64 `json:"position,omitempty"`
}

// MessageOnChannel is what one channel has of a message. What says nothing is absent. Times are RFC 3339, UTC, milliseconds.
type MessageOnChannel struct {
	Channel   string      `json:"channel,omitempty"`
	State     string      `json:"state"`               // waiting, in_flight, deferred, dying, dead_letter, finished, not_for_it or unknown
	Attempts  uint16      `json:"attempts,omitempty"`  // deliveries so far, of what is not finished
	Ahead     *int        `json:"ahead,omitempty"`     // of what waits: messages that go before it, about
	Aside     bool        `json:"aside,omitempty"`     // of what waits: another message of its key is out
	Client    string      `json:"client,omitempty"`    // that has it in flight
	Delivered string      `json:"delivered,omitempty"` // to that
	Deadline  string      `json:"deadline,omitempty"`  // when its time in flight is over
	Due       string      `json:"due,omitempty"`       // of what is deferred
	Letter    *DeadLetter `json:"letter,omitempty"`    // of a dead_letter: where it is
}

// DeadLetter is where a dead letter is.
type DeadLetter struct {
	Topic    string `json:"topic"`
	Position uint64 `json:"position"`
	ID       string `json:"id"`
}

// FinishedByHand is a broker's answer to /message/finish.
type FinishedByHand struct {
	Position uint64           `json:"position"`
	Was      MessageOnChannel `json:"was"` // what the channel had of it
}
