package httpd

import (
	"errors"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/attention"
	"brokerd/admin/cluster"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// letters is the answer to /api/letters.
type letters struct {
	Topic  string   `json:"topic"`
	Nodes  []string `json:"nodes"`  // that have dead letters there, or failed to tell
	More   []string `json:"more"`   // of these: have others behind those that are shown
	Errors []string `json:"errors"` // node: why it tells nothing
	List   []letter `json:"list"`
}

// letter is one dead letter, without its body.
type letter struct {
	Node string `json:"node"`
	httpapi.Message
}

// letters shows the first dead letters of a topic with what is known of each, and takes none.
func (a *api) letters(w http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	topic := r.URL.Query().Get("topic")
	if !protocol.ValidName(topic) {
		return nil, refuse(http.StatusBadRequest, "INVALID_TOPIC")
	}
	all, err := a.Cluster.Letters(r.Context(), topic)
	switch {
	case errors.Is(err, cluster.ErrNothing):
		return nil, refuse(http.StatusNotFound, "TOPIC_NOT_FOUND")
	case err != nil:
		return nil, upstream(err)
	}
	out := letters{Topic: topic, Nodes: []string{}, More: []string{}, Errors: []string{}, List: []letter{}}
	for _, l := range all {
		out.Nodes = append(out.Nodes, l.Node)
		if l.Err != nil {
			out.Errors = append(out.Errors, l.Node+": "+attention.Cause(l.Err))
		}
		if l.More {
			out.More = append(out.More, l.Node)
		}
		for _, m := range l.Messages {
			out.List = append(out.List, letter{l.Node, m})
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	return out, nil
}
