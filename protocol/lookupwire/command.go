package lookupwire

import (
	"bytes"
	"errors"
	"fmt"

	"brokerd/protocol"
)

// Magic opens every connection.
const Magic = "  V1"

// MaxLineLength is the longest command line that a lookup reads, its \n included. The longest that a broker has reason to
// send is 141 bytes.
const MaxLineLength = 1024

// Words of the commands.
const (
	Identify   = "IDENTIFY"
	Register   = "REGISTER"
	Unregister = "UNREGISTER"
	Ping       = "PING"
)

// ErrLineTooLong is behind the refusal of a line longer than MaxLineLength.
var ErrLineTooLong = errors.New("command line too long")

// LineTooLong returns the refusal of a line longer than MaxLineLength.
func LineTooLong() *Error {
	return &Error{Code: CodeInvalid, Desc: fmt.Sprintf("command line longer than %d bytes", MaxLineLength), Err: ErrLineTooLong}
}

// Command is one line, taken apart. Its slices are views of the line.
type Command struct {
	Word    []byte // empty for an empty line
	Topic   []byte // first parameter; nil when there is none
	Channel []byte // second parameter; nil when there is none, empty when nothing stands between two spaces
}

// ParseLine takes a line apart, with or without its \n. Every line is some command: the word may be unknown or empty.
func ParseLine(line []byte) Command {
	word, rest, more := bytes.Cut(bytes.TrimSpace(line), space)
	c := Command{Word: word}
	if more {
		c.Topic, rest, more = bytes.Cut(rest, space)
	}
	if more {
		c.Channel, _, _ = bytes.Cut(rest, space)
	}
	return c
}

// Names checks the parameters of REGISTER and UNREGISTER and returns them as strings of their own. The channel is empty
// when the command is about the topic alone. The error is an *Error.
func (c Command) Names() (topic, channel string, err error) {
	if c.Topic == nil {
		return "", "", &Error{Code: CodeInvalid, Desc: string(c.Word) + " insufficient number of params"}
	}
	if !protocol.ValidName(c.Topic) {
		return "", "", &Error{Code: CodeBadTopic, Desc: fmt.Sprintf("%s topic name '%s' is not valid", c.Word, c.Topic)}
	}
	if len(c.Channel) > 0 && !protocol.ValidName(c.Channel) {
		return "", "", &Error{Code: CodeBadChannel, Desc: fmt.Sprintf("%s channel name '%s' is not valid", c.Word, c.Channel)}
	}
	return string(c.Topic), string(c.Channel), nil
}

// AppendRegister appends the line that says that this broker has the topic, and the channel unless it is empty. The names
// must be valid.
func AppendRegister(dst []byte, topic, channel string) []byte {
	return appendNames(append(dst, Register...), topic, channel)
}

// AppendUnregister appends the line that says that this broker no longer has the channel or, when channel is empty, the
// topic. The names must be valid.
func AppendUnregister(dst []byte, topic, channel string) []byte {
	return appendNames(append(dst, Unregister...), topic, channel)
}

// AppendPing appends the line that says that this broker is alive.
func AppendPing(dst []byte) []byte { return append(dst, Ping+"\n"...) }

func appendNames(dst []byte, topic, channel string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, topic...)
	if channel != "" {
		dst = append(dst, ' ')
		dst = append(dst, channel...)
	}
	return append(dst, '\n')
}

var space = []byte(" ")
