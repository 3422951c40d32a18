package httpd

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/attention"
	"brokerd/admin/cluster"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// messages is the answer to /api/messages: what a channel holds, without bodies.
type messages struct {
	Topic   string    `json:"topic"`
	Channel string    `json:"channel"`
	State   string    `json:"state"`  // deferred
	Total   int       `json:"total"`  // messages in that state, on all nodes that tell
	Errors  []string  `json:"errors"` // node: why it tells nothing
	List    []message `json:"list"`   // the first of each node
}

// message is one of them.
type message struct {
	Node string `json:"node"`
	httpapi.DeferredMessage
}

// messages shows the first messages that a channel has deferred, by when they are due, and takes none.
func (a *api) messages(w http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	d := &deed{r: r, ps: ps}
	topic, err := d.name("topic")
	if err != nil {
		return nil, err
	}
	channel, err := d.name("channel")
	if err != nil {
		return nil, err
	}
	if state := r.URL.Query().Get("state"); state != "deferred" {
		return nil, refuse(http.StatusBadRequest, "INVALID_STATE: must be deferred")
	}
	all, err := a.Cluster.Deferred(r.Context(), topic, channel)
	switch {
	case errors.Is(err, cluster.ErrNothing):
		return nil, refuse(http.StatusNotFound, "TOPIC_NOT_FOUND")
	case err != nil:
		return nil, upstream(err)
	}
	out := messages{Topic: topic, Channel: channel, State: "deferred", Errors: []string{}, List: []message{}}
	for _, n := range all {
		if n.Err != nil {
			out.Errors = append(out.Errors, n.Node+": "+attention.Cause(n.Err))
		}
		out.Total += n.Total
		for _, m := range n.Messages {
			out.List = append(out.List, message{n.Node, m})
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	return out, nil
}

// reschedule drops one deferred message of a channel, or has it delivered now.
func (a *api) reschedule(d *deed, action, node string, position uint64, id string) (done, error) {
	if err := d.one(action, node, position, id); err != nil {
		return done{}, err
	}
	err := a.Cluster.Reschedule(d.r.Context(), node, d.act.Topic, d.act.Channel, position, id, action == "release_message")
	if errors.Is(err, cluster.ErrNothing) {
		return done{}, refuse(http.StatusNotFound, "MESSAGE_NOT_DEFERRED")
	}
	return done{Node: node}, err
}

// one notes an act on one message of a node, which is named by its position, and by its id where that is to be sure.
func (d *deed) one(action, node string, position uint64, id string) error {
	if position == 0 {
		return refuse(http.StatusBadRequest, "INVALID_POSITION: must be the position of a message, from 1")
	}
	detail := fmt.Sprint("position ", position)
	if id != "" {
		if _, ok := protocol.ParseMessageID([]byte(id)); !ok {
			return refuse(http.StatusBadRequest, "INVALID_ID: must be 16 hex digits")
		}
		detail += ", id " + id
	}
	d.act.Action, d.act.Node, d.act.Detail = action, node, detail
	return nil
}
