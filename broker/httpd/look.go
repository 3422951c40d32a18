package httpd

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// Words of answers about replicated topics.
const (
	roleLeader   = "leader"
	roleFollower = "follower"
)

// source is a topic that is looked at: one that this broker serves, or its copy of one that another broker leads.
type source interface {
	Name() string
	Number() uint32
	Shown() topic.Position
	Kept() topic.Kept
	LookFrom(p topic.Place, o *topic.Look) error
	Browse(ctx context.Context, o topic.Look) (topic.Looked, error)
	FindMessage(id protocol.MessageID) (topic.Position, error)
	HasAt(ctx context.Context, pos topic.Position, id protocol.MessageID) (bool, error)
	Locate(ctx context.Context, pos topic.Position, o topic.Look) (topic.Located, error)

	// Role is what the answer says of who answers, empty for a topic that is not replicated.
	Role() string
	isCopy() bool
	// served returns the topic that is served here, nil for a copy.
	served() *topic.Topic
	own() channelSource
	// channel returns nil when there is no such.
	channel(name string) channelSource
}

// channelSource is a channel of a source, or the topic's own backlog.
type channelSource interface {
	Name() string
	BrowseWaiting(ctx context.Context, o topic.Look) (topic.Looked, error)
	BrowseInFlight(ctx context.Context, o topic.Look) (topic.Looked, error)
	BrowseDeferred(ctx context.Context, from topic.DueMark, o topic.Look) ([]topic.Message, topic.DueMark, error)
	Deferred(ctx context.Context, from topic.DueMark, limit int) ([]topic.Scheduled, topic.DueMark, error)
	CountDeferred() (int, error)
}

// servedTopic is a topic that this broker serves.
type servedTopic struct{ *topic.Topic }

func (t servedTopic) Role() string {
	if t.Replicated() {
		return roleLeader
	}
	return ""
}

func (t servedTopic) isCopy() bool         { return false }
func (t servedTopic) served() *topic.Topic { return t.Topic }
func (t servedTopic) own() channelSource   { return servedChannel{t.Own()} }

func (t servedTopic) channel(name string) channelSource {
	if c := t.LookupChannel(name); c != nil {
		return servedChannel{c}
	}
	return nil
}

// deferredOf is a topic of which only that is found by its id which is deferred.
type deferredOf struct{ servedTopic }

func (t deferredOf) FindMessage(id protocol.MessageID) (topic.Position, error) { return t.FindID(id) }

type servedChannel struct{ *topic.Channel }

func (c servedChannel) CountDeferred() (int, error) { return c.Stats().Deferred, nil }

// copiedTopic is this broker's copy of a topic that another one leads.
type copiedTopic struct{ *topic.Copy }

func (t copiedTopic) Role() string         { return roleFollower }
func (t copiedTopic) isCopy() bool         { return true }
func (t copiedTopic) served() *topic.Topic { return nil }
func (t copiedTopic) own() channelSource   { return t.channel("") }

func (t copiedTopic) channel(name string) channelSource {
	if c := t.Channel(name); c != nil {
		return c
	}
	return nil
}

// look is a request to look at messages.
type look struct {
	show     func(w http.ResponseWriter, req *http.Request, q httpapi.Query, t source) (any, error)
	withheld func() error             // why this broker shows nothing, nil: it does; nil: it always does
	ofLeader func(httpapi.Query) bool // only who leads knows what is asked for; nil: a copy does
}

// asksHistory reports whether a request is for the history of a message, which stands in the log of who has led.
func asksHistory(q httpapi.Query) bool {
	past, err := flagArg(q, "history")
	return past || err != nil
}

// errAskLeader is what a copy does not know.
var errAskLeader = errors.New("this broker's copy does not know that yet")

// lookAnywhere makes the handler of requests to look at messages. Of a replicated topic it shows what this broker leads, or its own copy. With consistent=true, or
// without a copy, who leads shows it; with consistent=true once that is certain.
func (a *api) lookAnywhere(route string, l look) httpapi.HandlerFunc {
	led := a.lookAtLeader(route, l)
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) (any, error) {
		q, err := httpapi.ParseQuery(req)
		if err != nil {
			return nil, err
		}
		consistent, err := consistentArg(q)
		if err != nil {
			return nil, err
		}
		copies := l.ofLeader == nil || !l.ofLeader(q)
		if copies && !consistent {
			if data, shown, err := a.lookAtCopy(w, req, q, l); shown {
				return data, err
			}
		}
		data, err := led(w, req, ps)
		if isNotLeader(err) {
			err = a.nobodyShows(req, q.Get("topic"), consistent, copies)
		}
		return data, err
	}
}

// Who leads is looked for again for as long, when this broker is about to lead, or to notice that it does not any more: to look twice does no harm.
const (
	lookAgain = 2 * time.Second
	lookPace  = 20 * time.Millisecond
)

// lookAtLeader makes the handler that shows what this broker serves, or has who leads show it.
func (a *api) lookAtLeader(route string, l look) httpapi.HandlerFunc {
	here := a.lookHere(l)
	if a.cfg.Forward == nil {
		return here
	}
	a.acts[route] = here
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) (data any, err error) {
		q, err := httpapi.ParseQuery(req)
		if err != nil {
			return nil, err
		}
		name := q.Get("topic")
		for began := time.Now(); ; {
			if !a.elsewhere(name) {
				if data, err = here(w, req, ps); !isNotLeader(err) {
					return data, err
				}
			}
			if l.withheld != nil {
				if err := l.withheld(); err != nil {
					return nil, err
				}
			}
			data, _, err = a.actElsewhere(w, req, name, act{Route: route, Query: req.URL.RawQuery})
			switch {
			case errors.Is(err, topic.ErrNotReplicated):
				return here(w, req, ps)
			case !errors.Is(err, ErrActHere):
				return data, err
			case time.Since(began) > lookAgain:
				return nil, notLeader(topic.ErrElsewhere)
			}
			select {
			case <-req.Context().Done():
				return nil, req.Context().Err()
			case <-time.After(lookPace):
			}
		}
	}
}

// lookHere makes the handler that shows what this broker serves.
func (a *api) lookHere(l look) httpapi.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
		q, t, err := a.existing(req)
		if err != nil {
			return nil, err
		}
		consistent, err := consistentArg(q)
		if err != nil {
			return nil, err
		}
		if consistent {
			if err := t.Confirm(req.Context()); err != nil {
				return nil, a.fail(req, err)
			}
		}
		data, err := l.show(w, req, q, servedTopic{t})
		if t.Replicated() && t.Exiting() { // the lead was lost meanwhile: what was seen may be a part
			return nil, notLeader(topic.ErrElsewhere)
		}
		return data, err
	}
}

// lookAtCopy shows what this broker has of a topic that another one leads. shown is false when it has none, or cannot show it; also when it does not have what is
// asked for: who leads may.
func (a *api) lookAtCopy(w http.ResponseWriter, req *http.Request, q httpapi.Query, l look) (data any, shown bool, err error) {
	name := q.Get("topic")
	if a.cfg.Cluster == nil || !a.elsewhere(name) {
		return nil, false, nil
	}
	c := a.cfg.Cluster.Copy(name)
	if c == nil {
		return nil, false, nil
	}
	data, err = l.show(w, req, q, copiedTopic{c})
	var answered *httpapi.Error
	lacks := errors.As(err, &answered) && answered.Code == http.StatusNotFound
	return data, err == nil || answered != nil && !lacks || req.Context().Err() != nil, err
}

// consistentArg reads the argument consistent.
func consistentArg(q httpapi.Query) (bool, error) {
	if err := q.Once("consistent"); err != nil {
		return false, err
	}
	return flagArg(q, "consistent")
}

// nobodyShows returns the answer when who leads a topic was not found in time, or is not certain that it does. copies says that a copy would do.
func (a *api) nobodyShows(req *http.Request, name string, consistent, copies bool) error {
	text, hint := notLeaderText+"no broker was found in time that leads the topic", "a broker that has a replica"
	if consistent {
		text, hint = text+" for certain, as consistent=true asks for", "without it "+hint
	}
	if a.cfg.Cluster == nil || !copies {
		return refuse(http.StatusServiceUnavailable, text)
	}
	if list := a.cfg.Cluster.ReplicasOf(req.Context(), name); len(list) > 0 {
		text += "; " + hint + " answers as far as it knows: " + strings.Join(list, ", ") + " (addresses in the cluster)"
	}
	return refuse(http.StatusServiceUnavailable, text)
}
