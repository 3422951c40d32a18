package protocol

import "fmt"

// Code is the first word of an error frame.
type Code string

// The error codes.
const (
	CodeBadProtocol    Code = "E_BAD_PROTOCOL"
	CodeInvalid        Code = "E_INVALID"
	CodeBadBody        Code = "E_BAD_BODY"
	CodeBadMessage     Code = "E_BAD_MESSAGE"
	CodeBadTopic       Code = "E_BAD_TOPIC"
	CodeBadChannel     Code = "E_BAD_CHANNEL"
	CodeIdentifyFailed Code = "E_IDENTIFY_FAILED"
	CodeSubFailed      Code = "E_SUB_FAILED"
	CodePubFailed      Code = "E_PUB_FAILED"
	CodeMpubFailed     Code = "E_MPUB_FAILED"
	CodeDpubFailed     Code = "E_DPUB_FAILED"
	CodeAuthFirst      Code = "E_AUTH_FIRST"
	CodeAuthFailed     Code = "E_AUTH_FAILED"
	CodeAuthDisabled   Code = "E_AUTH_DISABLED"
	CodeAuthError      Code = "E_AUTH_ERROR"
	CodeUnauthorized   Code = "E_UNAUTHORIZED"
	CodeFinFailed      Code = "E_FIN_FAILED"
	CodeReqFailed      Code = "E_REQ_FAILED"
	CodeTouchFailed    Code = "E_TOUCH_FAILED"
)

// Closes reports whether an error frame with this code is followed by the end of the connection: true for all but
// CodeFinFailed, CodeReqFailed and CodeTouchFailed. The broker keeps it open, too, when the disk did not take a publish.
func (c Code) Closes() bool {
	return c != CodeFinFailed && c != CodeReqFailed && c != CodeTouchFailed
}

// Error is what an error frame says, and for the log what caused it.
type Error struct {
	Code  Code
	Desc  string
	Cause error
}

// Errorf returns an Error with a formatted description.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Desc: fmt.Sprintf(format, args...)}
}

// Because returns e with its cause set.
func (e *Error) Because(cause error) *Error {
	e.Cause = cause
	return e
}

// Error returns the payload of the error frame: code, one space, description.
func (e *Error) Error() string {
	if e.Desc == "" {
		return string(e.Code)
	}
	return string(e.Code) + " " + e.Desc
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
