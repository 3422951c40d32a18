package httpd

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/attention"
	"brokerd/admin/audit"
	"brokerd/admin/cluster"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// browsed is the answer to /api/browse: messages with the beginnings of their bodies.
type browsed struct {
	Topic   string    `json:"topic"`
	Channel string    `json:"channel"`
	State   string    `json:"state"`
	Errors  []string  `json:"errors"` // node: why it shows nothing
	Next    []cursor  `json:"next"`   // where nodes go on that have more, or have not looked through all
	List    []visible `json:"list"`
}

// cursor is where one node goes on.
type cursor struct {
	Node   string `json:"node"`
	Cursor string `json:"cursor"`
}

// visible is a message of one node.
type visible struct {
	Node string `json:"node"`
	httpapi.Message
}

// Messages of each node in one answer.
const (
	browseSome = 50
	browseMost = 200
)

// browse shows messages of a topic, or as a channel has them, and takes none. It is written down who has looked.
func (a *api) browse(w http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	d := &deed{r: r, ps: ps}
	topic, err := d.name("topic")
	if err != nil {
		return nil, err
	}
	q, err := browseQuery(r, topic)
	if err != nil {
		return nil, err
	}
	all, err := a.Cluster.Browse(r.Context(), q)
	a.looked(r, audit.Act{Action: "read_messages", Topic: topic, Channel: q.Channel, Detail: q.State}, err)
	if err != nil {
		return nil, nothingThere(err)
	}
	out := browsed{Topic: topic, Channel: q.Channel, State: q.State, Errors: []string{}, Next: []cursor{}, List: []visible{}}
	for _, p := range all {
		if p.Err != nil {
			out.Errors = append(out.Errors, p.Node+": "+attention.Cause(p.Err))
			continue
		}
		if !p.End {
			out.Next = append(out.Next, cursor{p.Node, p.Next})
		}
		for _, m := range p.Messages {
			out.List = append(out.List, visible{p.Node, m})
		}
	}
	when := func(m *visible) string { return m.Time }
	if q.State == "deferred" {
		when = func(m *visible) string { return m.Due }
	}
	slices.SortStableFunc(out.List, func(a, b visible) int { return cmp.Compare(when(&a), when(&b)) })
	w.Header().Set("Cache-Control", "no-store")
	return out, nil
}

// browseQuery reads the arguments of browse.
func browseQuery(r *http.Request, topic string) (q cluster.BrowseQuery, err error) {
	args := r.URL.Query()
	q = cluster.BrowseQuery{Topic: topic, Channel: args.Get("channel"), State: args.Get("state"), From: args.Get("from"), Text: args.Get("contains"), Limit: browseSome}
	if q.Channel != "" && !protocol.ValidName(q.Channel) {
		return q, refuse(http.StatusBadRequest, "INVALID_CHANNEL")
	}
	switch q.State {
	case "kept":
		q.Channel = ""
	case "waiting", "in_flight", "deferred":
		if q.Channel == "" {
			return q, refuse(http.StatusBadRequest, "INVALID_STATE: a topic has only kept; a channel waiting, in_flight and deferred")
		}
	default:
		return q, refuse(http.StatusBadRequest, "INVALID_STATE: must be kept, waiting, in_flight or deferred")
	}
	if text := args.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > browseMost {
			return q, refuse(http.StatusBadRequest, fmt.Sprintf("INVALID_LIMIT: must be a number from 1 to %d", browseMost))
		}
	}
	for _, text := range args["cursor"] {
		node, at, ok := strings.Cut(text, "=")
		if !ok {
			return q, refuse(http.StatusBadRequest, "INVALID_CURSOR: must be NODE=CURSOR, as next of the answer before says")
		}
		if q.Cursors == nil {
			q.Cursors = map[string]string{}
		}
		q.Cursors[node] = at
	}
	return q, nil
}

// looked writes down that somebody has read bodies.
func (a *api) looked(r *http.Request, act audit.Act, err error) {
	act.Time, act.User, act.Result = time.Now(), callerOf(r).User, "done"
	act.From(r)
	if err != nil {
		act.Result, act.Error = "failed", err.Error()
	}
	a.Trail.Write(act)
}

// nothingThere returns the answer for what no broker has.
func nothingThere(err error) error {
	if errors.Is(err, cluster.ErrNothing) {
		return refuse(http.StatusNotFound, "TOPIC_NOT_FOUND")
	}
	return upstream(err)
}

// traced is the answer to /api/message: one message as each node has it.
type traced struct {
	Topic  string   `json:"topic"`
	Errors []string `json:"errors"` // node: why it shows nothing
	List   []trace  `json:"list"`
}

// trace is it on one node.
type trace struct {
	Node string `json:"node"`
	httpapi.MessageAt
}

// trace shows one message and what each channel has of it.
func (a *api) trace(w http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	d := &deed{r: r, ps: ps}
	topic, err := d.name("topic")
	if err != nil {
		return nil, err
	}
	args := r.URL.Query()
	id, node, position := args.Get("id"), args.Get("node"), uint64(0)
	if text := args.Get("position"); text != "" {
		if position, err = strconv.ParseUint(text, 10, 64); err != nil || position == 0 || node == "" {
			return nil, refuse(http.StatusBadRequest, "INVALID_POSITION: must be the position of a message, from 1, with the node whose it is")
		}
	} else if _, ok := protocol.ParseMessageID([]byte(id)); !ok {
		return nil, refuse(http.StatusBadRequest, "INVALID_ID: must be 16 hex digits")
	}
	all, err := a.Cluster.Trace(r.Context(), cluster.TraceQuery{Topic: topic, Node: node, ID: id, Position: position, Whole: args.Get("body") == "full",
		History: args.Get("history") == "true"})
	detail := "id " + id
	if position > 0 {
		detail = fmt.Sprint("position ", position)
	}
	a.looked(r, audit.Act{Action: "read_message", Topic: topic, Node: node, Detail: detail}, err)
	if err != nil {
		return nil, nothingThere(err)
	}
	out := traced{Topic: topic, Errors: []string{}, List: []trace{}}
	for _, t := range all {
		if t.Err != nil {
			out.Errors = append(out.Errors, t.Node+": "+attention.Cause(t.Err))
			continue
		}
		if t.Message.Channels == nil { // a broker that says nothing of them
			t.Message.Channels = []httpapi.MessageOnChannel{}
		}
		out.List = append(out.List, trace{t.Node, t.Message})
	}
	w.Header().Set("Cache-Control", "no-store")
	return out, nil
}

// finish takes one message off a channel.
func (a *api) finish(d *deed, node string, position uint64, id string) (done, error) {
	if err := d.one("finish_message", node, position, id); err != nil {
		return done{}, err
	}
	err := a.Cluster.FinishMessage(d.r.Context(), node, d.act.Topic, d.act.Channel, position, id)
	if errors.Is(err, cluster.ErrNothing) {
		return done{}, refuse(http.StatusNotFound, "MESSAGE_NOT_FOUND: the channel has nothing of it any more")
	}
	return done{Node: node}, err
}

// preview is the answer to /api/preview: what a rewind or a skip would do.
type preview struct {
	Messages  int      `json:"messages"`  // that wait once more, or are discarded, on all nodes
	Nodes     []string `json:"nodes"`     // that would do it
	Truncated bool     `json:"truncated"` // somewhere the place is before all that is kept
	Errors    []string `json:"errors"`    // node: why it would not
}

// preview says what a rewind or a skip would do, and does nothing.
func (a *api) preview(w http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	d := &deed{r: r, ps: ps}
	topic, err := d.name("topic")
	if err != nil {
		return nil, err
	}
	channel, err := d.name("channel")
	if err != nil {
		return nil, err
	}
	args := r.URL.Query()
	m, err := moveOf(topic, channel, args.Get("action"), args.Get("to"), args.Get("all") == "true")
	if err != nil {
		return nil, err
	}
	all, err := a.Cluster.Move(r.Context(), m, true)
	if err != nil {
		return nil, nothingThere(err)
	}
	out := preview{Nodes: []string{}, Errors: []string{}}
	for _, did := range all {
		if did.Err != nil {
			out.Errors = append(out.Errors, did.Node+": "+attention.Cause(did.Err))
			continue
		}
		out.Messages += did.Moved.Messages
		out.Nodes = append(out.Nodes, did.Node)
		out.Truncated = out.Truncated || did.Moved.Truncated
	}
	w.Header().Set("Cache-Control", "no-store")
	return out, nil
}

func moveOf(topic, channel, action, to string, all bool) (m cluster.Move, err error) {
	m = cluster.Move{Topic: topic, Channel: channel, Skip: action == "skip", To: to, All: all && action == "skip"}
	switch {
	case action != "rewind" && action != "skip":
		return m, refuse(http.StatusBadRequest, "INVALID_ACTION: must be rewind or skip")
	case to == "":
		return m, refuse(http.StatusBadRequest, "INVALID_PLACE: to must be beginning, end, a time such as 2026-01-31T10:00:00Z or -2h, pos:N or id:HEX")
	}
	return m, nil
}

// move rewinds or skips a channel on all its nodes.
func (a *api) move(d *deed, action, to string, all bool) (done, error) {
	m, err := moveOf(d.act.Topic, d.act.Channel, action, to, all)
	if err != nil {
		return done{}, err
	}
	d.act.Action, d.act.Detail = action+"_channel", "to "+to
	list, err := a.Cluster.Move(d.r.Context(), m, false)
	if err != nil {
		return done{}, nothingThere(err)
	}
	o, n := &cluster.Outcome{}, 0
	for _, did := range list {
		o.Results = append(o.Results, cluster.Result{Node: did.Node, Err: did.Err})
		n += did.Moved.Messages
	}
	d.act.Detail += fmt.Sprintf(", %d messages", n)
	return outcome(o, o.Err(), "CHANNEL_NOT_FOUND")
}
