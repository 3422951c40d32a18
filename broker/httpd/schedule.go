package httpd

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// delay returns the argument defer: whole milliseconds, none when it is absent.
func (a *api) delay(q httpapi.Query) (time.Duration, error) {
	text, ok := q.Lookup("defer")
	if !ok {
		return 0, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 0 || ms > a.cfg.MaxDefer.Milliseconds() {
		return 0, refuse(http.StatusBadRequest, "INVALID_DEFER")
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// due returns the argument at, in nanoseconds since the Unix epoch: 0 when it is absent, 1 when it has passed.
func (a *api) due(q httpapi.Query, now time.Time) (int64, error) {
	text, ok := q.Lookup("at")
	if !ok {
		return 0, nil
	}
	if _, both := q.Lookup("defer"); both {
		return 0, refuse(http.StatusBadRequest, "INVALID_AT: a publish has either at or defer, not both")
	}
	at, ok := parseMoment(text)
	switch {
	case !ok:
		return 0, refuse(http.StatusBadRequest, "INVALID_AT: it must be milliseconds since 1970 or a time such as 2026-01-31T10:00:00Z")
	case !at.After(now):
		return 1, nil
	case at.UnixMilli()-now.UnixMilli() > a.cfg.MaxDefer.Milliseconds():
		return 0, refuse(http.StatusBadRequest, fmt.Sprintf("INVALID_AT: it is more than --max-defer, %v, from now", a.cfg.MaxDefer))
	}
	return at.UnixNano(), nil
}

// parseMoment reads milliseconds since the Unix epoch, or a time by RFC 3339, whose plus sign may have become a space on its way.
func parseMoment(text string) (at time.Time, ok bool) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.UnixMilli(ms), true
	}
	at, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "+", 1))
	return at, err == nil
}

// deferred lists what is deferred on a channel, or in the topic's own backlog.
func (a *api) deferred(w http.ResponseWriter, req *http.Request, q httpapi.Query, t source) (any, error) {
	c, err := channelOf(q, t)
	if err != nil {
		return nil, err
	}
	limit, err := number(q, "limit", someMessages, mostMessages)
	if err != nil {
		return nil, err
	}
	from, err := a.parseMark(q)
	if err != nil {
		return nil, err
	}
	list, next, err := c.Deferred(req.Context(), from, limit)
	if err != nil {
		return nil, a.fail(req, err)
	}
	all, err := c.CountDeferred()
	if err != nil {
		return nil, a.fail(req, err)
	}
	out := httpapi.DeferredMessages{Topic: t.Name(), Role: t.Role(), Channel: c.Name(), Deferred: all, Messages: []httpapi.DeferredMessage{}}
	for _, m := range list {
		out.Messages = append(out.Messages, httpapi.DeferredMessage{ID: m.ID.String(), Position: uint64(m.Position),
			Due: moment(m.Due), Age: m.Age.Milliseconds(), Size: m.Size, Attempts: m.Attempts})
	}
	out.Next = markText(next)
	w.Header().Set("Cache-Control", "no-store")
	return out, nil
}

// parseMark reads the argument from: a time, or what next said in the answer before.
func (a *api) parseMark(q httpapi.Query) (m topic.DueMark, err error) {
	text, ok := q.Lookup("cursor")
	if !ok {
		text, ok = q.Lookup("from")
	}
	if !ok || text == "beginning" {
		return m, nil
	}
	if due, key, ok := strings.Cut(text, "."); ok {
		var err, wrong error
		m.At, err = strconv.ParseInt(due, 10, 64)
		m.Key, wrong = strconv.ParseUint(key, 10, 64)
		if err == nil && wrong == nil {
			return m, nil
		}
	}
	p, err := topic.ParsePlace(text, time.Now())
	at, ok := p.At()
	if err != nil || !ok {
		return m, refuse(http.StatusBadRequest, "INVALID_ARG_FROM: what is deferred is in the order in which it is due: it must be beginning, "+
			"milliseconds since 1970, a time such as 2026-01-31T10:00:00Z or -2h, or next of the answer before")
	}
	return a.cfg.Broker.Registry().MarkAt(at), nil
}

// existing returns the arguments and the topic that they name.
func (a *api) existing(req *http.Request) (httpapi.Query, *topic.Topic, error) {
	q, name, err := topicArg(req)
	if err != nil {
		return q, nil, err
	}
	t, err := a.lookupTopic(name)
	return q, t, err
}

// onDeferred returns the handler that does something to one message that is deferred.
func (a *api) onDeferred(act func(*topic.Topic, topic.Position, *topic.Channel) ([]string, error)) httpapi.HandlerFunc {
	return func(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
		q, t, err := a.existing(req)
		if err != nil {
			return nil, err
		}
		var c *topic.Channel
		if name, ok := q.Lookup("channel"); ok {
			if c = t.LookupChannel(name); c == nil {
				return nil, refuse(http.StatusNotFound, noChannel)
			}
		}
		pos, err := a.position(req, q, deferredOf{servedTopic{t}})
		if err != nil {
			return nil, a.notRescheduled(req, err)
		}
		from, err := act(t, pos, c)
		if err != nil {
			return nil, a.notRescheduled(req, err)
		}
		out := httpapi.Rescheduled{Position: uint64(pos), Channels: []string{}}
		for _, name := range from {
			if name == "" {
				out.Backlog = true
			} else {
				out.Channels = append(out.Channels, name)
			}
		}
		return out, nil
	}
}

// position returns which message of a topic the arguments name: by id, by pos, or by pos and the id that the message there must have.
func (a *api) position(req *http.Request, q httpapi.Query, t source) (topic.Position, error) {
	if err := q.Once("id", "pos", "channel"); err != nil {
		return 0, err
	}
	text, byPos := q.Lookup("pos")
	name, byID := q.Lookup("id")
	id, ok := protocol.ParseMessageID([]byte(name))
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case !byPos && !byID:
		return 0, refuse(http.StatusBadRequest, "MISSING_ARG_ID: a message is named by id or by pos")
	case byID && !ok:
		return 0, refuse(http.StatusBadRequest, "INVALID_ARG_ID: it must be 16 hex digits")
	case byPos && (err != nil || n == 0):
		return 0, refuse(http.StatusBadRequest, "INVALID_ARG_POS: it must be a number from 1 on")
	case !byPos:
		return t.FindMessage(id)
	case !byID:
		return topic.Position(n), nil
	}
	is, err := t.HasAt(req.Context(), topic.Position(n), id)
	if err == nil && !is { // of a topic that was deleted meanwhile, for one
		err = refuse(http.StatusNotFound, "MESSAGE_NOT_FOUND: at that position there is no message with that id, or it is gone")
	}
	return topic.Position(n), err
}

// notRescheduled returns the answer for a message that was neither cancelled nor released.
func (a *api) notRescheduled(req *http.Request, err error) error {
	var answered *httpapi.Error
	switch {
	case errors.As(err, &answered):
		return err
	case errors.Is(err, topic.ErrNoPositions):
		return refuse(http.StatusBadRequest, "NEEDS_LOG: "+err.Error())
	case errors.Is(err, topic.ErrNotDeferred):
		return refuse(http.StatusNotFound, "MESSAGE_NOT_DEFERRED: "+err.Error())
	case errors.Is(err, topic.ErrUnsure):
		return refuse(http.StatusBadRequest, "INVALID_ARG_ID: "+err.Error())
	}
	a.cfg.Log.Error("http: request failed", "uri", httpapi.LoggedURI(req.URL), "error", err)
	return refuse(http.StatusServiceUnavailable, "NOT_WRITTEN: "+strings.ReplaceAll(err.Error(), "\n", "; "))
}
