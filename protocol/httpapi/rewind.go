package httpapi

// Moved is the answer of a rewind, of a skip, and of a channel that is made at a place.
type Moved struct {
	Created   *bool  `json:"created,omitempty"`   // of a channel that was to be made: false when it was there, and is left alone
	Position  uint64 `json:"from_position"`       // of the place: of the first message there, or the next that will come
	ID        string `json:"from_id,omitempty"`   // of the first message that waits there; absent when none does, and of a skip
	Time      string `json:"from_time,omitempty"` // when it came
	Messages  int    `json:"messages"`            // that wait from there on; of a skip, that were discarded
	Truncated bool   `json:"truncated,omitempty"` // the place is before all that is kept
	Missing   uint64 `json:"missing,omitempty"`   // how far, of a place that is a position
}
