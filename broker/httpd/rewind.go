package httpd

import (
	"errors"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// placeArg reads the argument of that name, a place; ok is false when it is absent.
func placeArg(q httpapi.Query, name string) (p topic.Place, ok bool, err error) {
	text, ok := q.Lookup(name)
	if !ok {
		return p, false, nil
	}
	if p, err = topic.ParsePlace(text, time.Now()); err != nil {
		return p, true, badPlace(name)
	}
	return p, true, nil
}

func badPlace(name string) error {
	return refuse(http.StatusBadRequest, "INVALID_PLACE: "+name+" must be beginning, end, a time such as 2026-01-31T10:00:00Z or -2h, milliseconds since 1970, pos:N or id:HEX")
}

// createChannelAt makes a channel that begins at a place.
func (a *api) createChannelAt(req *http.Request, t *topic.Topic, channel string, p topic.Place) (any, error) {
	_, made, m, err := t.ChannelAt(channel, p)
	if err != nil {
		return nil, a.notMoved(req, err)
	}
	out := movedOf(&m)
	out.Created = &made
	return out, nil
}

// rewindChannel has messages of a channel wait once more.
func (a *api) rewindChannel(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	return a.move(req, func(c *topic.Channel, p topic.Place, q httpapi.Query, dry bool) (topic.Moved, error) {
		return c.Rewind(p, dry)
	})
}

// skipChannel discards messages of a channel.
func (a *api) skipChannel(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	return a.move(req, func(c *topic.Channel, p topic.Place, q httpapi.Query, dry bool) (topic.Moved, error) {
		all, err := flagArg(q, "all")
		if err != nil {
			return topic.Moved{}, err
		}
		return c.Skip(p, all, dry)
	})
}

// move does something to a channel that has a place.
func (a *api) move(req *http.Request, do func(*topic.Channel, topic.Place, httpapi.Query, bool) (topic.Moved, error)) (any, error) {
	c, err := a.existingChannel(req)
	if err != nil {
		return nil, err
	}
	q, err := httpapi.ParseQuery(req)
	if err != nil {
		return nil, err
	}
	if err := q.Once("to", "all", "dry_run"); err != nil {
		return nil, err
	}
	p, ok, err := placeArg(q, "to")
	if err == nil && !ok {
		err = badPlace("to")
	}
	if err != nil {
		return nil, err
	}
	dry, err := flagArg(q, "dry_run")
	if err != nil {
		return nil, err
	}
	m, err := do(c, p, q, dry)
	if err != nil {
		return nil, a.notMoved(req, err)
	}
	return movedOf(&m), nil
}

// flagArg returns an argument that is true or false, or 1 or 0, false when it is absent.
func flagArg(q httpapi.Query, name string) (bool, error) {
	switch text, ok := q.Lookup(name); {
	case !ok, text == "false", text == "0":
		return false, nil
	case text == "true", text == "1":
		return true, nil
	}
	return false, invalidArg(name, "it must be true or false")
}

func (a *api) notMoved(req *http.Request, err error) error {
	switch refused := (*httpapi.Error)(nil); {
	case errors.As(err, &refused):
		return err
	case errors.Is(err, topic.ErrNoPlaces):
		return refuse(http.StatusBadRequest, "NEEDS_LOG: "+err.Error())
	case errors.Is(err, topic.ErrKeepsNothing) && a.replicated(req.URL.Query().Get("topic")): // it has no options that would help
		return refuse(http.StatusBadRequest, "NOTHING_KEPT: "+policy.Lookup("retain_time").Unreplicated)
	case errors.Is(err, topic.ErrKeepsNothing):
		return refuse(http.StatusBadRequest, "NOTHING_KEPT: "+err.Error())
	case errors.Is(err, topic.ErrTooMany):
		return refuse(http.StatusBadRequest, "TOO_MANY: "+err.Error())
	case errors.Is(err, topic.ErrInvalidName):
		return refuse(http.StatusBadRequest, "INVALID_CHANNEL")
	case errors.Is(err, topic.ErrNotDeferred), errors.Is(err, topic.ErrUnsure):
		return a.notFound(err)
	}
	return a.fail(req, err)
}

func movedOf(m *topic.Moved) httpapi.Moved {
	out := httpapi.Moved{Position: uint64(m.From), Messages: m.Messages, Truncated: m.Truncated, Missing: m.Missing, ID: m.ID}
	if m.Time > 0 {
		out.Time = time.Unix(0, m.Time).UTC().Format(time.RFC3339Nano)
	}
	return out
}
