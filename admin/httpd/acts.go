package httpd

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/attention"
	"brokerd/admin/audit"
	"brokerd/admin/cluster"
	"brokerd/protocol"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// done is the answer to an act.
type done struct {
	Message string   `json:"message"` // "", or a warning
	Node    string   `json:"node,omitempty"`
	Results []result `json:"results,omitempty"`
}

type result struct {
	Node  string `json:"node"`
	OK    bool   `json:"ok"`
	Error string `json:"error"`
}

// deed is one act on its way.
type deed struct {
	r    *http.Request
	ps   httprouter.Params
	act  audit.Act
	also []string // actions that are notified as well
}

// acts makes a handler carry out what only operators may, and writes down what came of it.
func (a *api) acts(h func(*deed) (done, error)) httpapi.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
		d := &deed{r: r, ps: ps, act: audit.Act{Time: time.Now()}}
		d.act.From(r)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		c := callerOf(r)
		d.act.User = c.User
		if err := a.ours(r, c); err != nil {
			a.refused(r, c.User, err)
			return nil, err
		}
		if r.ContentLength < 0 || r.ContentLength > largeBody {
			select {
			case a.large <- struct{}{}:
				defer func() { <-a.large }()
			default:
				return nil, refuse(http.StatusServiceUnavailable, "BUSY: "+strconv.Itoa(largeAtOnce)+" requests with a large body are read already")
			}
		}
		answer, err := h(d)
		if d.act.Action == "" { // the request made no sense
			return answer, err
		}
		switch {
		case forbidden(err):
			d.act.Result, d.act.Error = "refused", err.Error()
		case err != nil:
			d.act.Result, d.act.Error = "failed", err.Error()
		case answer.Message != "":
			d.act.Result, d.act.Error = "partial", answer.Message
		default:
			d.act.Result = "done"
		}
		a.Trail.Write(d.act)
		a.notify(d)
		return answer, upstream(err)
	}
}

// forbidden reports whether an act was refused for who asked for it.
func forbidden(err error) bool {
	var refused *httpapi.Error
	return errors.As(err, &refused) && refused.Code == http.StatusForbidden
}

const (
	maxBody    = 12 << 20 // bytes of a request; a test message of 8 MiB in base64 fits
	maxMessage = 8 << 20

	largeBody   = 64 << 10 // bytes from which on a request needs one of the places for such
	largeAtOnce = 8        // each is in memory some times over while it comes, which may be slow, and until the act is done
)

// notify tells the endpoint.
func (a *api) notify(d *deed) {
	user := d.act.User
	if name, _, ok := d.r.BasicAuth(); ok && user == "" {
		user = name // as nsqadmin has it
	}
	scheme := "http"
	if d.r.TLS != nil || d.r.Header.Get("X-Scheme") == "https" {
		scheme = "https"
	}
	for _, action := range append([]string{d.act.Action}, d.also...) {
		channel := d.act.Channel
		if strings.HasSuffix(action, "_topic") {
			channel = ""
		}
		a.Notify.Send(audit.Notification{
			Action: action, Topic: d.act.Topic, Channel: channel, Node: d.act.Node, Timestamp: d.act.Time.Unix(), User: user,
			RemoteIP: d.r.RemoteAddr, UserAgent: d.r.UserAgent(), URL: scheme + "://" + d.r.Host + d.r.URL.RequestURI(),
			Via: a.Hostname, Result: d.act.Result,
		})
	}
}

// upstream returns the answer to an act that no daemon carried out.
func upstream(err error) error {
	var refused *httpapi.Error
	switch {
	case err == nil, errors.As(err, &refused):
		return err
	case errors.Is(err, cluster.ErrUnknownNode):
		return refuse(http.StatusNotFound, "NODE_NOT_FOUND")
	}
	return refuse(http.StatusBadGateway, "UPSTREAM_ERROR: "+err.Error())
}

// outcome makes the answer of what came of an act at all daemons. notFound is the text for what none of them has.
func outcome(o *cluster.Outcome, err error, notFound string) (done, error) {
	if errors.Is(err, cluster.ErrNothing) {
		return done{}, refuse(http.StatusNotFound, notFound)
	}
	if err != nil {
		return done{}, err
	}
	d := done{Message: o.Warning()}
	for _, r := range o.Results {
		text := ""
		if r.Err != nil {
			text = r.Err.Error()
		}
		d.Results = append(d.Results, result{r.Node, r.Err == nil, text})
	}
	return d, nil
}

// decode reads a JSON body, whatever its content type says: curl -d sends it as a form.
func (d *deed) decode(into any) error {
	err := json.NewDecoder(d.r.Body).Decode(into)
	var long *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &long):
		return refuse(http.StatusRequestEntityTooLarge, "BODY_TOO_BIG")
	case errors.Is(err, io.EOF):
		return refuse(http.StatusBadRequest, "EOF")
	}
	return refuse(http.StatusBadRequest, err.Error())
}

// name returns a name in the path.
func (d *deed) name(what string) (string, error) {
	name := nameOf(d.ps, what)
	if !protocol.ValidName(name) {
		return "", refuse(http.StatusBadRequest, "INVALID_"+strings.ToUpper(what))
	}
	return name, nil
}

func (a *api) create(d *deed) (done, error) {
	var body struct{ Topic, Channel string }
	if err := d.decode(&body); err != nil {
		return done{}, err
	}
	switch {
	case !protocol.ValidName(body.Topic):
		return done{}, refuse(http.StatusBadRequest, "INVALID_TOPIC")
	case body.Channel != "" && !protocol.ValidName(body.Channel):
		return done{}, refuse(http.StatusBadRequest, "INVALID_CHANNEL")
	}
	d.act.Action, d.act.Topic, d.act.Channel = "create_topic", body.Topic, body.Channel
	if body.Channel != "" {
		d.also = []string{"create_channel"}
	}
	if err := d.may(grant.Manage, body.Topic); err != nil {
		return done{}, err
	}
	o, err := a.Cluster.Create(d.r.Context(), body.Topic, body.Channel)
	return outcome(o, err, "TOPIC_NOT_FOUND")
}

func (a *api) onTopic(d *deed) (done, error)   { return a.do(d, false) }
func (a *api) onChannel(d *deed) (done, error) { return a.do(d, true) }

// options tells the options of a topic or channel, none where no broker has any.
func (a *api) options(_ http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	d := &deed{r: r, ps: ps}
	topic, err := d.name("topic")
	if err != nil {
		return nil, err
	}
	channel, what := "", "TOPIC"
	if ps.ByName("channel") != "" {
		what = "CHANNEL"
		if channel, err = d.name("channel"); err != nil {
			return nil, err
		}
	}
	all, err := a.Cluster.Options(r.Context(), topic, channel)
	switch {
	case errors.Is(err, cluster.ErrNothing):
		return nil, refuse(http.StatusNotFound, what+"_NOT_FOUND")
	case err != nil: // it is the brokers' trouble, and told on their pages
		return optionsAnswer{Options: map[string]cluster.Option{}, Error: attention.Cause(err)}, nil
	}
	return optionsAnswer{Options: all}, nil
}

// optionsAnswer is the answer.
type optionsAnswer struct {
	Options map[string]cluster.Option `json:"options"`
	Error   string                    `json:"error"` // why there are none of now
}

// setOptions sets options at every broker, all or none at each.
func (a *api) setOptions(d *deed, topic, channel string, options map[string]json.RawMessage, notFound string) (done, error) {
	if len(options) == 0 {
		return done{}, refuse(http.StatusBadRequest, `INVALID_OPTIONS: must be an object of at least one option`)
	}
	text, err := json.Marshal(options)
	if err != nil {
		return done{}, err
	}
	d.act.Action, d.act.Detail = "set_options", string(text)
	o, err := a.Cluster.SetOptions(d.r.Context(), topic, channel, options)
	var refused *cluster.OptionRefusal
	if errors.As(err, &refused) {
		return done{}, refuse(http.StatusBadRequest, "INVALID_CONFIG: "+refused.Text)
	}
	return outcome(o, err, notFound)
}

// do pauses, unpauses or empties a topic or a channel, sets its options, or a topic's durability, or sends a channel's dead letters back, or
// stops that, or cancels or releases a deferred message, finishes one by hand, or rewinds or skips a channel.
func (a *api) do(d *deed, channel bool) (done, error) {
	var body struct {
		Action, Durability string
		Options            map[string]json.RawMessage
		Node               string // of one message
		Position           uint64
		ID                 string // that it must have; empty: whichever it has
		To                 string // a place
		All                bool   // of a skip
	}
	if err := d.decode(&body); err != nil {
		return done{}, err
	}
	topic, err := d.name("topic")
	if err != nil {
		return done{}, err
	}
	name, what := "", "topic"
	if channel {
		what = "channel"
		if name, err = d.name("channel"); err != nil {
			return done{}, err
		}
	}
	notFound := strings.ToUpper(what) + "_NOT_FOUND"
	d.act.Topic, d.act.Channel = topic, name
	switch {
	case body.Action == "pause" || body.Action == "unpause" || body.Action == "empty":
		d.act.Action = body.Action + "_" + what
		o, err := a.Cluster.Do(d.r.Context(), body.Action, topic, name)
		return outcome(o, err, notFound)
	case (body.Action == "redrive" || body.Action == "stop_redrive") && channel:
		d.act.Action = body.Action
		o, err := a.Cluster.Redrive(d.r.Context(), topic, name, body.Action == "stop_redrive")
		return outcome(o, err, notFound)
	case (body.Action == "cancel_message" || body.Action == "release_message") && channel:
		return a.reschedule(d, body.Action, body.Node, body.Position, body.ID)
	case body.Action == "finish_message" && channel:
		return a.finish(d, body.Node, body.Position, body.ID)
	case (body.Action == "rewind" || body.Action == "skip") && channel:
		return a.move(d, body.Action, body.To, body.All)
	case body.Action == "set_options":
		return a.setOptions(d, topic, name, body.Options, notFound)
	case body.Action == "set_durability" && !channel:
		switch body.Durability {
		case "memory", "disk", "fsync":
		default:
			return done{}, refuse(http.StatusBadRequest, "INVALID_DURABILITY: must be memory, disk or fsync")
		}
		d.act.Action, d.act.Detail = "set_durability", body.Durability
		o, err := a.Cluster.SetDurability(d.r.Context(), topic, body.Durability)
		return outcome(o, err, notFound)
	}
	return done{}, refuse(http.StatusBadRequest, "INVALID_ACTION")
}

func (a *api) deleteTopic(d *deed) (done, error)   { return a.remove(d, false) }
func (a *api) deleteChannel(d *deed) (done, error) { return a.remove(d, true) }

func (a *api) remove(d *deed, channel bool) (done, error) {
	topic, err := d.name("topic")
	if err != nil {
		return done{}, err
	}
	d.act.Action, d.act.Topic = "delete_topic", topic
	if channel {
		if d.act.Channel, err = d.name("channel"); err != nil {
			return done{}, err
		}
		d.act.Action = "delete_channel"
	}
	o, err := a.Cluster.Delete(d.r.Context(), topic, d.act.Channel)
	return outcome(o, err, strings.ToUpper(strings.TrimPrefix(d.act.Action, "delete_"))+"_NOT_FOUND")
}

func (a *api) tombstone(d *deed) (done, error) {
	var body struct{ Topic string }
	if d.decode(&body) != nil {
		return done{}, refuse(http.StatusBadRequest, "INVALID_BODY")
	}
	if !protocol.ValidName(body.Topic) {
		return done{}, refuse(http.StatusBadRequest, "INVALID_TOPIC")
	}
	d.act.Action, d.act.Topic, d.act.Node = "tombstone_topic_producer", body.Topic, d.ps.ByName("node")
	if err := d.may(grant.Manage, body.Topic); err != nil {
		return done{}, err
	}
	o, err := a.Cluster.Tombstone(d.r.Context(), d.act.Node, body.Topic)
	if errors.Is(err, cluster.ErrReplicated) {
		return done{}, refuse(http.StatusConflict, "TOPIC_IS_REPLICATED: deleted on one node it is deleted on all")
	}
	return outcome(o, err, "TOPIC_NOT_FOUND")
}

// onNode dismisses a broker that is gone for good.
func (a *api) onNode(d *deed) (done, error) {
	var body struct{ Action string }
	if err := d.decode(&body); err != nil {
		return done{}, err
	}
	if body.Action != "dismiss" {
		return done{}, refuse(http.StatusBadRequest, "INVALID_ACTION")
	}
	d.act.Action, d.act.Node = "dismiss_node", d.ps.ByName("node")
	err := a.Cluster.Dismiss(d.act.Node)
	switch {
	case errors.Is(err, cluster.ErrAnswers):
		return done{}, refuse(http.StatusConflict, "NODE_ANSWERS: only a node that is gone can be dismissed")
	case errors.Is(err, cluster.ErrListed):
		return done{}, refuse(http.StatusConflict, "NODE_IS_LISTED: take it out of --nsqd-http-address")
	}
	return done{}, err
}

func (a *api) publish(d *deed) (done, error) {
	var body struct {
		Topic  string `json:"topic"`
		Body   string `json:"body"`
		Node   string `json:"node"`
		Base64 bool   `json:"base64"`
		Defer  int64  `json:"defer_ms"`
	}
	if err := d.decode(&body); err != nil {
		return done{}, err
	}
	message := []byte(body.Body)
	if body.Base64 {
		var err error
		if message, err = base64.StdEncoding.DecodeString(body.Body); err != nil {
			return done{}, refuse(http.StatusBadRequest, "INVALID_BODY: "+err.Error())
		}
	}
	switch {
	case !protocol.ValidName(body.Topic):
		return done{}, refuse(http.StatusBadRequest, "INVALID_TOPIC")
	case len(message) == 0:
		return done{}, refuse(http.StatusBadRequest, "MSG_EMPTY")
	case len(message) > maxMessage:
		return done{}, refuse(http.StatusRequestEntityTooLarge, "MSG_TOO_BIG")
	case body.Defer < 0 || body.Defer > int64(365*24*time.Hour/time.Millisecond):
		return done{}, refuse(http.StatusBadRequest, "INVALID_DEFER")
	}
	d.act.Action, d.act.Topic, d.act.Node, d.act.Detail = "publish", body.Topic, body.Node, strconv.Itoa(len(message))+" bytes"
	if err := d.may(grant.Publish, body.Topic); err != nil {
		return done{}, err
	}
	node, err := a.Cluster.Publish(d.r.Context(), body.Node, body.Topic, message, time.Duration(body.Defer)*time.Millisecond)
	d.act.Node = node
	return done{Node: node}, err
}
