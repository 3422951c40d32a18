package httpd

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// message shows one message, and where it is.
func (a *api) message(w http.ResponseWriter, req *http.Request, q httpapi.Query, t source) (any, error) {
	l, err := lookOf(req, q)
	if err != nil {
		return nil, err
	}
	if err := a.hidden(); err != nil {
		return nil, err
	}
	past, err := flagArg(q, "history")
	if err != nil {
		return nil, err
	}
	var out httpapi.MessageAt
	pos, err := a.position(req, q, t)
	if err == nil {
		l.look.Until = time.Now().Add(longestTrace)
		var at topic.Located
		if at, err = t.Locate(req.Context(), pos, l.look); err == nil {
			out = located(t, &at, l.look.Body)
		}
	}
	if past && (err == nil || errors.Is(err, topic.ErrNoMessage) || errors.Is(err, topic.ErrNotDeferred)) {
		out, err = a.withHistory(req, t.served(), q, pos, out, err)
	}
	if err != nil {
		return nil, a.notLocated(req, t, pos, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	return out, nil
}

// withHistory adds what the log has of a message. One that is not there any more, missing says so, is shown as far as the log knows it.
func (a *api) withHistory(req *http.Request, t *topic.Topic, q httpapi.Query, pos topic.Position, out httpapi.MessageAt, missing error) (httpapi.MessageAt, error) {
	select {
	case a.history <- struct{}{}:
		defer func() { <-a.history }()
	default:
		return out, refuse(http.StatusTooManyRequests, "BUSY: a history is being read already")
	}
	id, _ := protocol.ParseMessageID([]byte(q.Get("id")))
	h, err := t.History(req.Context(), pos, id)
	switch {
	case err != nil:
		return out, err
	case missing != nil && h.Pos == 0:
		return out, missing
	case missing != nil:
		out = httpapi.MessageAt{Topic: t.Name(), Gone: true, Channels: []httpapi.MessageOnChannel{}, Message: httpapi.Message{Position: uint64(h.Pos), Size: h.Size}}
		if h.ID != 0 {
			out.ID = h.ID.String()
		}
		if h.Stamp > 0 {
			out.Time = time.Unix(0, h.Stamp).UTC().Format(time.RFC3339Nano)
		}
	}
	out.Since, out.History = moment(h.Since), make([]httpapi.MessageEvent, 0, len(h.Events))
	for i := range h.Events {
		e := &h.Events[i]
		out.History = append(out.History, httpapi.MessageEvent{Event: e.What, Time: moment(e.Time), Channel: e.Channel, Attempt: e.Attempt, Due: moment(e.Due),
			Reason: e.Reason, Client: e.Client, Topic: e.Topic, Position: uint64(e.Position)})
	}
	return out, nil
}

// finishMessage takes one message off a channel.
func (a *api) finishMessage(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	c, err := a.existingChannel(req)
	if err != nil {
		return nil, err
	}
	q, err := httpapi.ParseQuery(req)
	if err != nil {
		return nil, err
	}
	t := servedTopic{c.Topic()}
	pos, err := a.position(req, q, t)
	if err != nil {
		return nil, a.notLocated(req, t, 0, err)
	}
	was, err := c.FinishByHand(pos)
	if errors.Is(err, topic.ErrNoMessage) {
		return nil, refuse(http.StatusNotFound, "MESSAGE_NOT_FOUND: the channel has nothing of that message, or it is being moved to a dead letter topic")
	}
	if err != nil {
		return nil, a.notRescheduled(req, err)
	}
	return httpapi.FinishedByHand{Position: uint64(pos), Was: onChannel(&was)}, nil
}

// notLocated returns the answer for a message that is not shown; pos is 0 where that is not known.
func (a *api) notLocated(req *http.Request, t source, pos topic.Position, err error) error {
	var answered *httpapi.Error
	switch {
	case errors.As(err, &answered):
		return err
	case errors.Is(err, topic.ErrNoMessage) && t.Kept().From > pos && pos > 0:
		return refuse(http.StatusNotFound, fmt.Sprintf("MESSAGE_NOT_FOUND: it was dropped: no channel needs it any more, and the topic keeps what is from position %d on",
			t.Kept().From))
	case errors.Is(err, topic.ErrNoMessage) && pos <= t.Shown():
		return refuse(http.StatusNotFound, "MESSAGE_NOT_FOUND: no channel has it any more, and the topic does not keep it")
	case errors.Is(err, topic.ErrNoMessage), errors.Is(err, topic.ErrNotDeferred):
		return refuse(http.StatusNotFound, "MESSAGE_NOT_FOUND: there is none, or no channel has it any more and the topic does not keep it")
	case errors.Is(err, topic.ErrNoPositions), errors.Is(err, topic.ErrNoHistory):
		return refuse(http.StatusBadRequest, "NEEDS_LOG: "+err.Error())
	case errors.Is(err, topic.ErrUnsure):
		return refuse(http.StatusBadRequest, "INVALID_ARG_ID: "+err.Error())
	}
	return a.fail(req, err)
}

// located returns a message and where it is as they are shown.
func located(t source, l *topic.Located, body int) httpapi.MessageAt {
	out := httpapi.MessageAt{Topic: t.Name(), Role: t.Role(), Message: shown(&l.Message, body), Kept: l.Kept, ReadFrom: "memory", Channels: []httpapi.MessageOnChannel{},
		Unsure: l.Unsure}
	if l.OnDisk {
		out.ReadFrom = "segment"
	}
	for i := range l.Channels {
		on := onChannel(&l.Channels[i])
		if on.Channel == "" {
			out.Backlog = &on
			continue
		}
		out.Channels = append(out.Channels, on)
	}
	return out
}

func onChannel(o *topic.OnChannel) httpapi.MessageOnChannel {
	out := httpapi.MessageOnChannel{Channel: o.Channel, State: string(o.State), Attempts: o.Attempts, Aside: o.Aside, Client: o.Client,
		Delivered: moment(o.Delivered), Deadline: moment(o.Deadline), Due: moment(o.Due)}
	if o.State == topic.Waiting {
		out.Ahead = &o.Ahead
	}
	if o.State == topic.DeadLetter {
		out.Letter = &httpapi.DeadLetter{Topic: o.LetterTopic, Position: uint64(o.Letter), ID: o.LetterID.String()}
	}
	return out
}

// longestTrace is how long a request for one message looks through dead letter topics.
const longestTrace = 2 * time.Second
