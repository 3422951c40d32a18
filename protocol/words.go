package protocol

import (
	"bytes"
	"fmt"
	"net/url"
)

// MaxWord is the longest value of a word behind a topic, in bytes, decoded.
const MaxWord = 256

// Words are what a publish says about itself behind its topic: PUB orders ttl=30s. Each is NAME=VALUE, the value percent-encoded. Those
// that are not known are passed over, as nsqd does with everything there. An empty text is a word that is not there.
type Words struct {
	TTL   string // how long the messages are of use
	Key   string // which messages are to stay in order: those of one key
	Dedup string // by which a repeated publish is known
	Acks  string // when the publish is answered
}

// word returns where the value of a word goes, nil when it is not known.
func (w *Words) word(name []byte) *string {
	switch string(name) {
	case "ttl":
		return &w.TTL
	case "key":
		return &w.Key
	case "dedup":
		return &w.Dedup
	case "acks":
		return &w.Acks
	}
	return nil
}

// WordError is a word that is known and has a value that cannot be.
type WordError struct {
	Name string
	Must string // what is allowed, from the word "must" on
}

func (e *WordError) Error() string { return fmt.Sprintf("the word %s %s", e.Name, e.Must) }

// ParseWords reads what stands behind a topic. The first word that is none, as it has no =, is returned as well: DPUB has
// its time there. More blanks than one between words are one.
func ParseWords(rest []byte) (w Words, plain []byte, err error) {
	for len(rest) > 0 {
		word := rest
		if i := bytes.IndexByte(rest, ' '); i >= 0 {
			word, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		name, value, ok := bytes.Cut(word, []byte{'='})
		switch {
		case !ok && plain == nil && len(word) > 0:
			plain = word
		case ok && err == nil:
			if to := w.word(name); to != nil {
				err = decodeWord(to, name, value)
			}
		}
	}
	return w, plain, err
}

// decodeWord sets to, which must not be set yet.
func decodeWord(to *string, name, value []byte) error {
	text, err := url.PathUnescape(string(value))
	switch {
	case *to != "":
		return &WordError{string(name), "must be there once"}
	case err != nil:
		return &WordError{string(name), "must be percent-encoded"}
	case text == "" || len(text) > MaxWord:
		return &WordError{string(name), fmt.Sprintf("must have 1 to %d bytes", MaxWord)}
	}
	*to = text
	return nil
}
