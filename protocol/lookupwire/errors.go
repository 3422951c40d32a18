package lookupwire

import "bytes"

// Codes of the errors that a lookup answers.
const (
	CodeBadProtocol = "E_BAD_PROTOCOL" // the first four bytes are not Magic
	CodeInvalid     = "E_INVALID"      // an unknown command, or one that is not allowed now
	CodeBadTopic    = "E_BAD_TOPIC"    // not a topic's name
	CodeBadChannel  = "E_BAD_CHANNEL"  // not a channel's name
	CodeBadBody     = "E_BAD_BODY"     // the body of IDENTIFY

	CodeUnauthorized = "E_UNAUTHORIZED" // lookupd's own: a broker that may not register here, or not this topic
	CodeFull         = "E_FULL"         // lookupd's own: no room for one more
)

// Error is a refusal by the lookup. Every one of them is followed by the end of the connection.
type Error struct {
	Code string // one of the Code constants, or another word beginning "E_" from another make of lookup
	Desc string // may be empty
	Err  error  // what was behind it on this side; never sent
}

// Error returns what is sent: the code, a space and the description, or the code alone.
func (e *Error) Error() string {
	if e.Desc == "" {
		return e.Code
	}
	return e.Code + " " + e.Desc
}

// Unwrap returns the cause on this side, nil when the error came over the wire.
func (e *Error) Unwrap() error { return e.Err }

// ErrMustIdentify answers REGISTER and UNREGISTER before IDENTIFY.
func ErrMustIdentify() *Error { return &Error{Code: CodeInvalid, Desc: "client must IDENTIFY"} }

// ErrIdentifyAgain answers a second IDENTIFY.
func ErrIdentifyAgain() *Error { return &Error{Code: CodeInvalid, Desc: "cannot IDENTIFY again"} }

// ErrUnknownCommand answers a line whose first word is no command. The space stands even when the word is empty.
func ErrUnknownCommand(word []byte) *Error {
	return &Error{Code: CodeInvalid, Desc: "invalid command " + string(word)}
}

// ErrBadProtocol answers a connection that does not begin with Magic.
func ErrBadProtocol() *Error { return &Error{Code: CodeBadProtocol} }

// ReplyError returns the error that a reply holds, nil when it holds none.
func ReplyError(reply []byte) *Error {
	if !bytes.HasPrefix(reply, []byte("E_")) {
		return nil
	}
	code, desc, _ := bytes.Cut(reply, []byte(" "))
	return &Error{Code: string(code), Desc: string(desc)}
}
