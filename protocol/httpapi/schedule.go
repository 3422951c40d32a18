package httpapi

// Published is a broker's answer to /pub and /mpub with answer=id: one of each for every message, in their order. Positions are empty
// for a topic at level memory, whose messages have none.
type Published struct {
	IDs       []string `json:"ids"`
	Positions []uint64 `json:"positions"`

	// Duplicates are messages of the request, from 0, that were not stored, as their deduplication keys had been accepted before: their
	// positions are those of the first ones, their ids are empty.
	Duplicates []int `json:"duplicates,omitempty"`
}

// DeferredMessages is a broker's answer to /channel/deferred.
type DeferredMessages struct {
	Topic    string            `json:"topic"`
	Role     string            `json:"role,omitempty"` // of a replicated topic, who tells: leader, or follower, whose copy may lack the newest, and does not say who has what is in flight
	Channel  string            `json:"channel"`        // empty for the topic's own backlog
	Deferred int               `json:"deferred"`       // messages in all
	Messages []DeferredMessage `json:"messages"`       // by when they are due
	Next     string            `json:"next,omitempty"` // for the argument from; absent at the end
}

// DeferredMessage is a message that is not to be delivered yet.
type DeferredMessage struct {
	ID       string `json:"id"`
	Position uint64 `json:"position,omitempty"` // in its topic; absent at level memory
	Due      string `json:"due"`                // RFC 3339, UTC, milliseconds
	Age      int64  `json:"age"`                // milliseconds since it was published
	Size     int    `json:"size"`               // bytes of its body
	Attempts uint16 `json:"attempts"`           // deliveries so far
}

// Rescheduled is a broker's answer to /message/cancel and /message/release.
type Rescheduled struct {
	Position uint64   `json:"position"`
	Channels []string `json:"channels"`          // where it was
	Backlog  bool     `json:"backlog,omitempty"` // it was in the topic's own backlog, for which no channel was there
}

// Ahead is how many messages are deferred, by when they are due.
type Ahead struct {
	Minute int `json:"minute"` // within a minute
	Hour   int `json:"hour"`   // within an hour, not within a minute
	Day    int `json:"day"`    // within a day, not within an hour
	Later  int `json:"later"`
}
