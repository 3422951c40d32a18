package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/attention"
	"brokerd/admin/cluster"
	"brokerd/admin/history"
	"brokerd/admin/views"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// firstWait is how long a page waits for the first state after the start.
const firstWait = 2 * time.Second

func (a *api) view(_ http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	page := views.PageOf(ps.ByName("view"), r.URL.Query())
	ctx, cancel := context.WithTimeout(r.Context(), firstWait)
	defer cancel()
	a.Maker.Await(ctx)
	return a.Maker.Get(r.Context(), page, sightOf(callerOf(r)))
}

const (
	keepAliveEvery = 15 * time.Second
	eventTimeout   = 10 * time.Second // for a reader to take one event
	judgeEvery     = 2 * time.Second  // whether the reader may still see the page, when the cluster has no new state sooner
)

// stream writes one reader's events.
type stream struct {
	w    http.ResponseWriter
	ctl  *http.ResponseController
	page views.Page
	rows map[string]views.Row // of the last topics event; nil before the first

	sight views.Sight
}

// events writes a page's body at each new state of the cluster, until the reader or the server leaves.
func (a *api) events(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	s := &stream{w: w, ctl: http.NewResponseController(w), page: views.PageOf(r.URL.Query().Get("view"), r.URL.Query())}
	if err := s.ctl.SetReadDeadline(time.Time{}); err != nil { // when the server's passes, the request counts as given up
		httpapi.RespondError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // or nginx keeps events back
	if r.Method == http.MethodHead {
		return
	}
	if err := s.write("retry: 2000\n\n"); err != nil {
		return
	}
	alive := time.NewTicker(keepAliveEvery)
	defer alive.Stop()
	judge := time.NewTicker(judgeEvery)
	defer judge.Stop()
	for {
		_, next := a.Maker.Next()
		// The role may change meanwhile: a session expires, a user is taken out of the file.
		c, err := a.caller(w, r, httpapi.NeedsSome(grant.Read), nil)
		if err != nil {
			return
		}
		s.sight = sightOf(c)
		if err := a.send(r.Context(), s); err != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-next:
				waiting = false
			case <-judge.C:
				if _, err := a.caller(w, r, httpapi.NeedsSome(grant.Read), nil); err != nil {
					return
				}
			case <-alive.C:
				if s.write(":\n\n") != nil {
					return
				}
			case <-r.Context().Done():
				return
			case <-a.Stop:
				return
			}
		}
	}
}

var errGone = errors.New("what the page shows is gone")

// send writes the page as it is now.
func (a *api) send(ctx context.Context, s *stream) error {
	if a.Maker.Await(ctx).Seq == 0 {
		return ctx.Err()
	}
	body, err := a.Maker.Get(ctx, s.page, s.sight)
	var refused *httpapi.Error
	switch {
	case errors.As(err, &refused):
		if err := s.event("gone", map[string]string{"message": refused.Text}); err != nil {
			return err
		}
		return errGone
	case err != nil:
		a.Log.Error("event stream: the body could not be made", "view", s.page.View, "error", err)
		return nil // the next state may be better
	}
	if err := s.event("view", brief(body)); err != nil {
		return err
	}
	if s.page.View != "overview" {
		return nil
	}
	topics, err := a.Maker.Get(ctx, views.Page{View: "topics"}, s.sight)
	if err != nil {
		return err
	}
	return s.changes(topics.(*views.Topics).Rows)
}

// changes writes what is not as it was sent last: {"reset":first,"rows":[...],"removed":[names]}, of a row that was sent before its changed figures only.
func (s *stream) changes(rows []views.Row) error {
	event := strconv.AppendBool([]byte(`{"reset":`), s.rows == nil)
	event = append(event, `,"rows":[`...)
	empty := len(event)
	now := make(map[string]views.Row, len(rows))
	for i := range rows {
		row := &rows[i]
		now[row.Topic] = *row
		old, ok := s.rows[row.Topic]
		if ok && old == *row {
			continue
		}
		if len(event) > empty {
			event = append(event, ',')
		}
		event = row.AppendChange(event, &old)
	}
	removed := []string{}
	for name := range s.rows {
		if _, ok := now[name]; !ok {
			removed = append(removed, name)
		}
	}
	slices.Sort(removed)
	unchanged := s.rows != nil && len(event) == empty && len(removed) == 0
	s.rows = now
	if unchanged {
		return nil
	}
	names, err := json.Marshal(removed)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return s.write("event: topics\ndata: " + string(event) + `],"removed":` + string(names) + "}\n\n")
}

// brief is a body as a stream repeats it: of an overview's nodes and lookups, whose figures stand in its totals, only the first.
func brief(body any) any {
	o, ok := body.(*views.Overview)
	if !ok {
		return body
	}
	short := *o
	short.Nodes, short.Lookups = o.Nodes[:min(1, len(o.Nodes))], o.Lookups[:min(1, len(o.Lookups))]
	return &short
}

func (s *stream) event(name string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return s.write("event: " + name + "\ndata: " + string(data) + "\n\n")
}

func (s *stream) write(text string) error {
	if err := s.ctl.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.ctl.Flush()
}

// points is a series for JSON: null where nothing is known.
type points []float32

func (p points) MarshalJSON() ([]byte, error) {
	out := []byte{'['}
	for i, v := range p {
		if i > 0 {
			out = append(out, ',')
		}
		if v != v {
			out = append(out, "null"...)
			continue
		}
		out = strconv.AppendFloat(out, math.Round(float64(v)*100)/100, 'f', -1, 64)
	}
	return append(out, ']'), nil
}

// windowOf returns the number of a window by its name, the finest when there is none.
func windowOf(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	i := slices.IndexFunc(history.Windows[:], func(w history.Window) bool { return w.Name == name })
	if i < 0 {
		return 0, refuse(http.StatusBadRequest, "INVALID_ARG_WINDOW")
	}
	return i, nil
}

func (a *api) history(_ http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	q, err := httpapi.ParseQuery(r)
	if err != nil {
		return nil, err
	}
	w, err := windowOf(q.Get("window"))
	if err != nil {
		return nil, err
	}
	key, names, err := views.Thing(q.Get("of"), q.Get("topic"), q.Get("channel"), q.Get("node"))
	if err != nil {
		return nil, err
	}
	sight := sightOf(callerOf(r))
	if key.Topic == "" && !sight.All() || key.Topic != "" && !sight.Sees(key.Topic) {
		key = history.Key{Of: "nothing"} // of which nothing is known: a sum over topics tells of those that are not seen
	}
	start, all := a.Maker.History().Series(key, w, len(names))
	series := make(map[string]points, len(names))
	for i, name := range names {
		series[name] = all[i]
	}
	return struct {
		Of     string            `json:"of"`
		Window string            `json:"window"`
		Start  int64             `json:"start"`
		StepMS int64             `json:"step_ms"`
		Points int               `json:"points"`
		Series map[string]points `json:"series"`
	}{q.Get("of"), history.Windows[w].Name, start.UnixMilli(), history.Windows[w].Step.Milliseconds(), history.Points, series}, nil
}

const mostSparks = 200

func (a *api) sparks(_ http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	args := r.URL.Query()
	w, err := windowOf(args.Get("window"))
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(args.Get("points"))
	if err != nil || n <= 0 || n > history.Points {
		n = history.Points / 2
	}
	topics := args["topic"]
	if len(topics) > mostSparks {
		return nil, refuse(http.StatusBadRequest, "INVALID_ARG_TOPIC: at most "+strconv.Itoa(mostSparks))
	}
	out := struct {
		Start  int64             `json:"start"`
		StepMS int64             `json:"step_ms"`
		Topics map[string]points `json:"topics"`
	}{StepMS: history.Windows[w].Step.Milliseconds(), Topics: map[string]points{}}
	sight := sightOf(callerOf(r))
	for _, topic := range topics {
		key, names, err := views.Thing("topic", topic, "", "")
		if err != nil {
			return nil, err
		}
		if !sight.Sees(topic) {
			continue
		}
		i := slices.Index(names, args.Get("metric"))
		if i < 0 {
			return nil, refuse(http.StatusBadRequest, "INVALID_ARG_METRIC")
		}
		start, all := a.Maker.History().Series(key, w, i+1)
		out.Start = start.Add(time.Duration(history.Points-n) * history.Windows[w].Step).UnixMilli()
		out.Topics[topic] = all[i][history.Points-n:]
	}
	return out, nil
}

func (a *api) search(_ http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	args := r.URL.Query()
	limit, err := strconv.Atoi(args.Get("limit"))
	if err != nil || limit <= 0 || limit > 100 {
		limit = 20
	}
	return map[string]any{"items": a.Maker.Search(r.Context(), args.Get("q"), limit, sightOf(callerOf(r)))}, nil
}

// nodeSettings tells operators the settings of a broker that tells them; {"settings":null} of one that does not.
func (a *api) nodeSettings(_ http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	settings, err := a.Cluster.Settings(r.Context(), ps.ByName("node"))
	switch {
	case errors.Is(err, cluster.ErrUnknownNode):
		return nil, upstream(err)
	case err != nil: // it is the broker's trouble, and told on its page
		return settingsOfNode{Error: attention.Cause(err)}, nil
	}
	return settingsOfNode{Settings: settings}, nil
}

// settingsOfNode is the answer.
type settingsOfNode struct {
	Settings *httpapi.Settings `json:"settings"`
	Error    string            `json:"error"` // why there are none of now
}
