package httpd

import (
	"errors"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

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
	if err := q.Once("channel", "from", "limit", "rate", "stop"); err != nil {
		return nil, err
	}
	stop, err := flagArg(q, "stop")
	if err != nil {
		return nil, err
	}
	o := topic.RedriveOptions{From: q.Get("from")}
	if o.Limit, err = number(q, "limit", 0, mostRedriven); err != nil {
		return nil, err
	}
	if o.Rate, err = number(q, "rate", 0, mostRedriven); err != nil {
		return nil, err
	}
	var r topic.Redrive
	if stop {
		r, err = t.StopRedrive(name)
	} else {
		r, err = t.Redrive(name, o)
	}
	switch {
	case errors.Is(err, topic.ErrChannelNotFound):
		return nil, refuse(http.StatusNotFound, noChannel)
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
