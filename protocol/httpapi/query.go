package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"brokerd/protocol"
)

// Query is the arguments of a request: those in its URL, never those of a form body.
type Query struct {
	values url.Values
}

// ParseQuery reads the arguments of req. The error is 400 INVALID_REQUEST.
func ParseQuery(req *http.Request) (Query, error) {
	values, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return Query{}, &Error{Code: http.StatusBadRequest, Text: "INVALID_REQUEST"}
	}
	return Query{values}, nil
}

// Get returns the first value of name, "" when it is absent.
func (q Query) Get(name string) string { return q.values.Get(name) }

// Lookup returns the first value of name and whether it is there; an empty value is.
func (q Query) Lookup(name string) (value string, ok bool) {
	v, ok := q.values[name]
	if !ok {
		return "", false
	}
	return v[0], true
}

// Once refuses a request that gives one of some arguments twice: which of the values is meant, nobody knows. It is for arguments that NSQ does
// not have; of its own it takes the first. The error is 400 INVALID_ARG_NAME.
func (q Query) Once(names ...string) error {
	for _, name := range names {
		if len(q.values[name]) > 1 {
			return &Error{Code: http.StatusBadRequest, Text: "INVALID_ARG_" + strings.ToUpper(name) + ": it is given more than once"}
		}
	}
	return nil
}

// Bool returns the value of name as NSQ reads a switch: "true" and "1", "false" and "0"; otherwise is returned for anything
// else and when it is absent.
func (q Query) Bool(name string, otherwise bool) bool {
	switch q.Get(name) {
	case "true", "1":
		return true
	case "false", "0":
		return false
	}
	return otherwise
}

// TopicAndChannel returns the arguments topic and channel, both of which must be there and be valid names. Errors are, in this
// order, 400 MISSING_ARG_TOPIC, INVALID_ARG_TOPIC, MISSING_ARG_CHANNEL and INVALID_ARG_CHANNEL.
func (q Query) TopicAndChannel() (topic, channel string, err error) {
	topic, ok := q.Lookup("topic")
	switch {
	case !ok:
		return "", "", &Error{Code: http.StatusBadRequest, Text: "MISSING_ARG_TOPIC"}
	case !protocol.ValidName(topic):
		return "", "", &Error{Code: http.StatusBadRequest, Text: "INVALID_ARG_TOPIC"}
	}
	channel, ok = q.Lookup("channel")
	switch {
	case !ok:
		return "", "", &Error{Code: http.StatusBadRequest, Text: "MISSING_ARG_CHANNEL"}
	case !protocol.ValidName(channel):
		return "", "", &Error{Code: http.StatusBadRequest, Text: "INVALID_ARG_CHANNEL"}
	}
	return topic, channel, nil
}
