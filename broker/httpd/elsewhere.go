package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// Forward has publishes to replicated topics, and acts on them, carried out by whichever broker leads them.
type Forward interface {
	// Publish publishes a batch, deferred when delay is above 0, and resets it. It fails with topic.ErrNotReplicated, and leaves the batch as it
	// is, when the topic of that name is none of those any more.
	Publish(topic string, b *topic.Batch, delay time.Duration) error
	// Act has Server.Act of who leads a topic do something, and returns its answer. It fails with topic.ErrNotReplicated, ErrActHere when this
	// broker leads, an ErrElsewhere when nobody does for long, or an ErrNotLeader when it may have been done. unsure says that somebody was asked
	// before who may have done it.
	Act(ctx context.Context, topic string, act []byte) (answer []byte, unsure bool, err error)
}

// ErrActHere is an act about a topic that this broker leads itself.
var ErrActHere = errors.New("this broker leads the topic")

// act is a request that another broker is sent; the answer follows. It is JSON on the wire.
type act struct {
	Route string `json:"route"` // method and path
	Query string `json:"query"`
	Body  []byte `json:"body,omitempty"`
}

type acted struct {
	Code   int             `json:"code"`
	Text   string          `json:"text,omitempty"` // of an error, or the answer when Data and Bytes are not there
	Data   json.RawMessage `json:"data,omitempty"`
	Bytes  []byte          `json:"bytes,omitempty"`  // an answer that is no JSON
	Header http.Header     `json:"header,omitempty"` // that belongs to it
}

// forAnother is the key of the context of a request that another broker has sent.
type forAnother struct{}

// mostAnswer is how many bytes an answer has at most that goes over a link: less than a frame.
const mostAnswer = 15 << 20

// anywhere makes a handler of one that only who leads a replicated topic can carry out: others have that broker do it.
func (a *api) anywhere(route string, h httpapi.HandlerFunc) httpapi.HandlerFunc {
	if a.cfg.Forward == nil {
		return h
	}
	a.acts[route] = h
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) (any, error) {
		q, err := httpapi.ParseQuery(req)
		if err != nil {
			return nil, err
		}
		name := q.Get("topic")
		tried := false
		if !a.elsewhere(name) && !(route == routeCreateChannel && a.yields(name)) {
			if data, err := h(w, req, ps); !isNotLeader(err) {
				return data, err
			}
			tried = true // the lead was lost: it may have been done
		}
		do := act{Route: route, Query: req.URL.RawQuery}
		if body, kept := req.Body.(*keptBody); kept {
			do.Body = body.all
			body.again()
		}
		data, unsure, err := a.actElsewhere(w, req, name, do)
		if errors.Is(err, ErrActHere) || errors.Is(err, topic.ErrNotReplicated) {
			data, err = h(w, req, ps)
		}
		if (tried || unsure) && route == routeDeleteChannel && isRefusal(err, noChannel) {
			return nil, nil // it was done, and the answer lost
		}
		return data, err
	}
}

// Routes that are looked at closer.
const (
	routeCreateChannel = "POST /channel/create"
	routeDeleteChannel = "POST /channel/delete"
)

// noChannel is the text of an answer.
const noChannel = "CHANNEL_NOT_FOUND"

// isRefusal reports whether an error is an answer of that text.
func isRefusal(err error, text string) bool {
	var answered *httpapi.Error
	return errors.As(err, &answered) && answered.Text == text
}

// ActOfChannel returns the act that makes a channel. Acted says what became of it.
func ActOfChannel(name, channel string) ([]byte, error) {
	return json.Marshal(act{Route: routeCreateChannel, Query: url.Values{"topic": {name}, "channel": {channel}}.Encode()})
}

// Acted returns the error of an act that was answered.
func Acted(answer []byte) error {
	var out acted
	switch err := json.Unmarshal(answer, &out); {
	case err != nil:
		return err
	case out.Code != http.StatusOK:
		return refuse(out.Code, out.Text)
	}
	return nil
}

// keptBody is the body of a request that may be read again.
type keptBody struct {
	bytes.Reader
	all []byte
}

func (b *keptBody) Close() error { return nil }

func (b *keptBody) again() { b.Reset(b.all) }

// withBody reads the body of a request, as it may have to go to another broker. It has a bit more than is allowed at most, for the handler to see that.
func (a *api) withBody(h httpapi.HandlerFunc) httpapi.HandlerFunc {
	if a.cfg.Forward == nil {
		return h
	}
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) (any, error) {
		s := a.scratch.Get().(*scratch)
		body, err := s.read(a.moving(w, req, s, maxConfig), maxConfig)
		kept := &keptBody{all: bytes.Clone(body)}
		a.release(s)
		if err != nil {
			return nil, err
		}
		kept.again()
		req.Body = kept
		return h(w, req, ps)
	}
}

// elsewhere reports whether a topic is replicated, and not served by this broker; also while that is not known, as after a start: who asks waits then. One
// of this broker alone that is in the way of it is what requests are about as long as it holds messages: so these are got rid of.
func (a *api) elsewhere(name string) bool {
	t := a.cfg.Broker.Registry().Lookup(name)
	return t == nil && a.mayBeReplicated(name) || t != nil && t.GivesWay()
}

// mayBeReplicated reports whether a topic is replicated, or may be, as far as is known here. What is no name, or an ephemeral one, is never one of these.
func (a *api) mayBeReplicated(name string) bool {
	return a.cfg.Cluster != nil && protocol.ValidName(name) && !protocol.IsEphemeral(name) && a.cfg.Cluster.MayBeReplicated(name)
}

// yields reports whether a topic of this broker alone is to give way to a replicated one.
func (a *api) yields(name string) bool {
	t := a.cfg.Broker.Registry().Lookup(name)
	return t != nil && t.Yields()
}

const notLeaderText = "NOT_LEADER: "

func isNotLeader(err error) bool {
	var answered *httpapi.Error
	return errors.As(err, &answered) && strings.HasPrefix(answered.Text, notLeaderText)
}

// actElsewhere has the broker that leads a topic do something.
func (a *api) actElsewhere(w http.ResponseWriter, req *http.Request, name string, do act) (data any, unsure bool, err error) {
	b, err := json.Marshal(do)
	if err != nil {
		return nil, false, err
	}
	answer, unsure, err := a.cfg.Forward.Act(req.Context(), name, b)
	switch {
	case errors.Is(err, topic.ErrExiting), errors.Is(err, topic.ErrElsewhere), errors.Is(err, topic.ErrNotLeader):
		return nil, unsure, a.fail(req, err)
	case err != nil:
		return nil, unsure, err
	}
	var out acted
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, unsure, err
	}
	maps.Copy(w.Header(), out.Header)
	switch {
	case out.Code != http.StatusOK:
		return nil, unsure, refuse(out.Code, out.Text)
	case out.Bytes != nil:
		data = out.Bytes
	case out.Data != nil:
		data = out.Data
	case out.Text != "":
		data = out.Text
	}
	return data, unsure, nil
}

// Act carries out what another broker, which has judged who asks, was asked for. Nothing is done when the topic is not there.
func (s *Server) Act(b []byte) (answer []byte, there bool) { return s.handlers.Load().act(b) }

// actHere carries out an act, and returns what is to be answered.
func (a *api) actHere(b []byte) (answer []byte, there bool) {
	var do act
	out := acted{Code: http.StatusNotFound, Text: "NOT_FOUND"}
	if err := json.Unmarshal(b, &do); err == nil && a.acts[do.Route] != nil {
		if q, err := url.ParseQuery(do.Query); err == nil && q.Get("topic") != "" {
			if t := a.cfg.Broker.Registry().Lookup(q.Get("topic")); t == nil || t.Yields() {
				return nil, false
			}
		}
		out = a.carryOutAct(do)
	}
	answer, err := json.Marshal(out)
	if err == nil && len(answer) > mostAnswer {
		answer, err = json.Marshal(acted{Code: http.StatusBadRequest,
			Text: "INVALID_ARG_MAX_BYTES: the answer is too long for the way over another broker: ask for less, or ask the one that leads the topic"})
	}
	if err != nil {
		return nil, true
	}
	return answer, true
}

func (a *api) carryOutAct(do act) (out acted) {
	method, path, _ := strings.Cut(do.Route, " ")
	ctx := context.WithValue(context.Background(), forAnother{}, true)
	req, err := http.NewRequestWithContext(ctx, method, path+"?"+do.Query, bytes.NewReader(do.Body))
	if err != nil {
		return acted{Code: http.StatusBadRequest, Text: "INVALID_REQUEST"}
	}
	w := nowhere{http.Header{}}
	data, err := a.acts[do.Route](w, req, nil)
	out.Code, out.Header = http.StatusOK, w.header
	var answered *httpapi.Error
	text, isText := data.(string)
	bytes, isBytes := data.([]byte)
	switch {
	case errors.As(err, &answered):
		return acted{Code: answered.Code, Text: answered.Text}
	case err != nil:
		return acted{Code: http.StatusInternalServerError, Text: "INTERNAL_ERROR"}
	case isText:
		out.Text = text
	case isBytes:
		out.Bytes = bytes
	case data != nil:
		if out.Data, err = json.Marshal(data); err != nil {
			return acted{Code: http.StatusInternalServerError, Text: "INTERNAL_ERROR"}
		}
	}
	return out
}

// nowhere takes what handlers write beside their answers, and keeps what they say of them.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}
