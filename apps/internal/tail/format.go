package tail

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nsqio/go-nsq"
)

// format says how a message is written.
type format struct {
	printTopic bool
	json       bool
	delimiter  string
}

// appendTo appends a message to dst as it is to be written.
func (f *format) appendTo(dst []byte, topic string, m *nsq.Message) []byte {
	if f.json {
		return append(appendJSON(dst, topic, m), '\n')
	}
	if f.printTopic {
		dst = append(append(dst, topic...), " | "...)
	}
	return append(append(dst, m.Body...), f.delimiter...)
}

func appendJSON(dst []byte, topic string, m *nsq.Message) []byte {
	line := struct {
		Topic     string  `json:"topic"`
		NSQD      string  `json:"nsqd"`
		ID        string  `json:"id"`
		Timestamp int64   `json:"timestamp"`
		Attempts  uint16  `json:"attempts"`
		Body      *string `json:"body,omitempty"`
		Base64    string  `json:"body_base64,omitempty"`
	}{Topic: topic, NSQD: m.NSQDAddress, ID: string(m.ID[:]), Timestamp: m.Timestamp, Attempts: m.Attempts}
	if utf8.Valid(m.Body) {
		body := string(m.Body)
		line.Body = &body
	} else {
		line.Base64 = base64.StdEncoding.EncodeToString(m.Body)
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // there is nothing in it that could not be encoded
	}
	return append(dst, text...)
}

// parseDelimiter reads a delimiter with Go's escapes, such as \n, \t, \x00 and \\.
func parseDelimiter(text string) (string, error) {
	delimiter, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		return "", fmt.Errorf(`--delimiter must be text with Go's escapes such as \n or \x00, not %q`, text)
	}
	return delimiter, nil
}
