package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/julienschmidt/httprouter"
)

const (
	headerName  = "X-NSQ-Content-Type"
	headerValue = "nsq; version=1.0"
	contentJSON = "application/json; charset=utf-8"
)

// Error is an answer other than 200. Text is the wire's word for it, such as TOPIC_NOT_FOUND.
type Error struct {
	Code int
	Text string
}

// Error returns the wire's word.
func (e *Error) Error() string { return e.Text }

// Errorf returns an Error with the formatted text.
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// HandlerFunc answers one request: with data that RespondV1 can write, or with an error. An *Error anywhere in the error's
// chain decides the status and text; any other error is 500 INTERNAL_ERROR.
type HandlerFunc func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) (any, error)

// V1 makes a route of a handler whose answers have the V1 form. Where large ones wait for callers that do not read, others get 503 BUSY.
func V1(h HandlerFunc) httprouter.Handle { return v1(h, &sending, nil) }

// Lists is V1 for a handler that waits for nothing and may have much to tell: as many as there are processors make an answer at the same time.
func Lists(h HandlerFunc) httprouter.Handle { return v1(h, &sending, making) }

func v1(h HandlerFunc, all *budget, turns chan struct{}) httprouter.Handle {
	var usual atomic.Int64 // bytes that large answers of the route have, 0 when none has been
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) {
		end := func() {}
		if turns != nil {
			select {
			case turns <- struct{}{}:
			case <-req.Context().Done():
				return
			}
			end = sync.OnceFunc(func() { <-turns })
			defer end()
		}
		held := usual.Load()
		if !all.take(held) {
			w.Header().Set("Retry-After", "1")
			RespondError(w, Errorf(http.StatusServiceUnavailable, "BUSY: others do not read what they are sent; try again"))
			return
		}
		defer func() { all.give(held) }()
		data, err := h(w, req, ps)
		if err != nil {
			RespondError(w, err)
			return
		}
		respondV1(w, data, func(size int64) {
			if size < largeAnswer {
				size = 0
			}
			if next := max(size, held-held/8); next != held { // one who asks for less does not have the others forgotten
				usual.Store(next)
			}
			if size > held {
				all.add(size - held)
				held = size
			}
			end()
		})
	}
}

// Plain makes a route of a handler that returns a text or nothing, written without the V1 header; an error's text is the
// body of its answer.
func Plain(h HandlerFunc) httprouter.Handle {
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) {
		data, err := h(w, req, ps)
		if err != nil {
			e := asError(err)
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(e.Code)
			data = e.Text
		}
		switch data := data.(type) {
		case string:
			write(w, []byte(data))
		case []byte:
			write(w, data)
		}
	}
}

// RespondV1 writes a V1 answer. With status 200 data is a string or bytes (written as they are), nil (nothing) or anything
// that encodes to JSON; with another status it is the error's text.
func RespondV1(w http.ResponseWriter, code int, data any) {
	if code != http.StatusOK {
		RespondError(w, Errorf(code, "%v", data))
		return
	}
	respondV1(w, data, func(int64) {})
}

// respondV1 is RespondV1 with status 200. It tells how many bytes there are before it sends them.
func respondV1(w http.ResponseWriter, data any, note func(size int64)) {
	h := w.Header()
	switch data := data.(type) {
	case nil:
		h.Set(headerName, headerValue)
		w.WriteHeader(http.StatusOK)
	case string:
		note(int64(len(data)))
		h.Set(headerName, headerValue)
		write(w, []byte(data))
	case []byte:
		note(int64(len(data)))
		h.Set(headerName, headerValue)
		write(w, data)
	default:
		body, err := json.Marshal(data)
		if err != nil {
			RespondError(w, fmt.Errorf("encode the answer: %w", err))
			return
		}
		note(int64(len(body)))
		writeJSON(w, http.StatusOK, body)
	}
}

// RespondError writes err as a V1 answer, as HandlerFunc says.
func RespondError(w http.ResponseWriter, err error) {
	e := asError(err)
	body, err := json.Marshal(struct {
		Message string `json:"message"`
	}{e.Text})
	if err != nil { // a string always encodes
		body = nil
	}
	writeJSON(w, e.Code, body)
}

// RespondTLSRequired refuses a request on a plain-text port and tells where https is, 0 for nowhere. NSQ's clients retry
// there. The spaces are part of the answer.
func RespondTLSRequired(w http.ResponseWriter, httpsPort int) {
	body := []byte(`{"message": "` + tlsRequired + `", "https_port": `)
	writeJSON(w, http.StatusForbidden, append(strconv.AppendInt(body, int64(httpsPort), 10), '}'))
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: http.StatusInternalServerError, Text: "INTERNAL_ERROR"}
}

func writeJSON(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set(headerName, headerValue)
	w.Header().Set("Content-Type", contentJSON)
	w.WriteHeader(code)
	write(w, body)
}

// write sends body. Its error says that the client left: there is nobody to tell, and net/http drops the connection.
func write(w http.ResponseWriter, body []byte) { _, _ = w.Write(body) }
