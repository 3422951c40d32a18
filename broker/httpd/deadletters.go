package httpd

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// Bounds of one answer of /topic/messages.
const (
	someMessages = 100
	mostMessages = 1000
	someBody     = 1024 // bytes of each body, unless something else is asked for
)

// messages shows the messages of a dead letter topic, and takes none.
func (a *api) messages(w http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	q, t, err := a.existing(req)
	if err != nil {
		return nil, err
	}
	limit, err := number(q, "limit", someMessages, mostMessages)
	if err != nil {
		return nil, err
	}
	from := uint64(1)
	if text, ok := q.Lookup("from"); ok {
		if from, err = strconv.ParseUint(text, 10, 64); err != nil || from == 0 {
			return nil, refuse(http.StatusBadRequest, "INVALID_ARG_FROM: it must be a position from 1 on, as next of the answer before")
		}
	}
	most, err := bodyArg(q)
	if err != nil {
		return nil, err
	}
	select {
	case a.looking <- struct{}{}:
		defer func() { <-a.looking }()
	default:
		return nil, refuse(http.StatusTooManyRequests, fmt.Sprintf("BUSY: %d look at messages already", cap(a.looking)))
	}
	list, next, err := t.Messages(topic.Position(from), limit)
	switch {
	case errors.Is(err, topic.ErrNotDeadLetters):
		return nil, refuse(http.StatusBadRequest, "NOT_DEAD_LETTERS: "+err.Error())
	case err != nil:
		return nil, a.fail(req, err)
	}
	out := httpapi.Messages{Topic: t.Name(), Messages: make([]httpapi.Message, 0, len(list))}
	for i := range list {
		out.Messages = append(out.Messages, shown(&list[i], most))
	}
	if next > 0 {
		out.Next = strconv.FormatUint(uint64(next), 10)
	}
	w.Header().Set("Cache-Control", "no-store")
	return out, nil
}

// number returns a whole number from 1 to most, otherwise when the argument is absent.
func number(q httpapi.Query, name string, otherwise, most int) (int, error) {
	text, ok := q.Lookup(name)
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, refuse(http.StatusBadRequest, fmt.Sprintf("INVALID_ARG_%s: it must be a number from 1 to %d", strings.ToUpper(name), most))
	}
	return n, nil
}

// bodyArg returns how many bytes of each body are asked for; -1 is all.
func bodyArg(q httpapi.Query) (int, error) {
	text, ok := q.Lookup("body")
	switch head, is := strings.CutPrefix(text, "head:"); {
	case !ok:
		return someBody, nil
	case text == "none":
		return 0, nil
	case text == "full":
		return -1, nil
	case is:
		if n, err := strconv.Atoi(head); err == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, refuse(http.StatusBadRequest, "INVALID_ARG_BODY: it must be full, none, or head: and a number of bytes")
}

// shown returns a message with so many bytes of its body.
func shown(m *topic.Message, most int) httpapi.Message {
	out := httpapi.Message{Position: uint64(m.Pos), ID: m.ID.String(), Time: time.Unix(0, m.Time).UTC().Format(time.RFC3339Nano), Size: len(m.Body)}
	body := m.Body
	if most >= 0 && len(body) > most {
		body = body[:most]
		for cut := 1; cut < utf8.UTFMax && cut < len(body) && !utf8.Valid(body); cut++ { // a character that was cut through
			if utf8.Valid(body[:len(body)-cut]) {
				body = body[:len(body)-cut]
			}
		}
	}
	switch {
	case most == 0:
	case utf8.Valid(body):
		text := string(body)
		out.Body = &text
	default:
		out.BodyBase64 = body
	}
	for _, p := range m.Properties {
		if out.Properties == nil {
			out.Properties = map[string]string{}
		}
		out.Properties[p.Name] = p.Value
	}
	return out
}

// mostRedriven bounds the numbers of a redrive.
const mostRedriven = 1_000_000_000

// redrive sends a channel's dead letters back to it, or stops that.
func (a *api) redrive(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	q, t, err := a.existing(req)
	if err != nil {
		return nil, err
	}
	name, ok := q.Lookup("channel")
	if !ok {
		return nil, refuse(http.StatusBadRequest, "MISSING_ARG_CHANNEL")
	}
	o := topic.RedriveOptions{From: q.Get("from")}
	if o.Limit, err = number(q, "limit", 0, mostRedriven); err != nil {
		return nil, err
	}
	if o.Rate, err = number(q, "rate", 0, mostRedriven); err != nil {
		return nil, err
	}
	var r topic.Redrive
	if q.Bool("stop", false) {
		r, err = t.StopRedrive(name)
	} else {
		r, err = t.Redrive(name, o)
	}
	switch {
	case errors.Is(err, topic.ErrChannelNotFound):
		return nil, refuse(http.StatusNotFound, "CHANNEL_NOT_FOUND")
	case errors.Is(err, topic.ErrNoLetters):
		return nil, refuse(http.StatusNotFound, "NO_DEAD_LETTERS: "+err.Error())
	case errors.Is(err, topic.ErrRedriving):
		return nil, refuse(http.StatusConflict, "REDRIVING: "+err.Error())
	case errors.Is(err, topic.ErrNotRedriving):
		return nil, refuse(http.StatusConflict, "NOT_REDRIVING: "+err.Error())
	case err != nil:
		return nil, a.fail(req, err)
	}
	return redriveOf(&r), nil
}

// redriveOf returns a redrive as it is shown, nil for none.
func redriveOf(r *topic.Redrive) *httpapi.Redrive {
	if r == nil {
		return nil
	}
	out := &httpapi.Redrive{From: r.From, Running: r.Ended.IsZero(), Began: r.Began.UTC().Format(time.RFC3339), Limit: r.Limit, Rate: r.Rate, Moved: r.Moved,
		InFlight: r.InFlight, Stopped: r.Stopped, Error: r.Error}
	if !out.Running {
		out.Ended = r.Ended.UTC().Format(time.RFC3339)
	}
	return out
}
