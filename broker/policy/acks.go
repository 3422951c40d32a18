package policy

import (
	"encoding/json"
	"errors"
)

// Acks is when a publish is answered, of a topic that is kept in the log.
type Acks uint8

// The ways, by their names in the option acks. On a topic with one replica the last two are the same.
const (
	AcksUnsaid Acks = iota
	AcksNone        // 0: once the broker has it in memory
	AcksOne         // 1: once it is as safe as the topic's level, on the leader
	AcksAll         // all: once a majority of replicas has it so
)

var acksNames = [...]string{"", "0", "1", "all"}

// String returns the way's name, empty for AcksUnsaid.
func (a Acks) String() string { return acksNames[a] }

const acksAllowed = "must be 0, 1 or all"

// ParseAcks reads 0, 1 or all.
func ParseAcks(text string) (Acks, error) {
	for i, name := range acksNames {
		if name == text && i > 0 {
			return Acks(i), nil
		}
	}
	return AcksUnsaid, errors.New(acksAllowed)
}

// parseAcks takes a text, or one of the numbers.
func parseAcks(raw json.RawMessage) (any, error) {
	var text string
	if json.Unmarshal(raw, &text) != nil || text == "" {
		text = string(raw)
	}
	if _, err := ParseAcks(text); err != nil {
		return nil, must(acksAllowed)
	}
	return text, nil
}
