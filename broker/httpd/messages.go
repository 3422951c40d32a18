package httpd

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// Bounds of one answer with messages.
const (
	someMessages = 100
	mostMessages = 1000
	someBody     = 1024      // bytes of each body, unless something else is asked for
	someBodies   = 1 << 20   // bytes of all bodies, the same
	mostBodies   = 4 << 20   // of these
	mostScan     = 256 << 20 // bytes that a search looks through
	longestLook  = 5 * time.Second
	longestThere = 2 * time.Second // the same for another broker, which does not wait for the answer for long
)

// longestOf returns how long a request may look.
func longestOf(req *http.Request) time.Duration {
	if req.Context().Value(forAnother{}) != nil {
		return longestThere
	}
	return longestLook
}

// looking is what a request to look at messages asks for.
type looking struct {
	look topic.Look
	raw  bool
}

// lookOf reads the arguments of a request to look at messages, but for where it begins.
func lookOf(req *http.Request, q httpapi.Query) (l looking, err error) {
	o := &l.look
	if err = q.Once("limit", "max_bytes", "scan", "body", "format", "contains", "from", "cursor", "state", "channel", "consistent"); err != nil {
		return l, err
	}
	if o.Limit, err = number(q, "limit", someMessages, mostMessages); err != nil {
		return l, err
	}
	if o.MaxBytes, err = number(q, "max_bytes", someBodies, mostBodies); err != nil {
		return l, err
	}
	scan, err := number(q, "scan", mostScan, mostScan)
	if err != nil {
		return l, err
	}
	if o.Body, err = bodyArg(q); err != nil {
		return l, err
	}
	switch format := q.Get("format"); format {
	case "", "json":
	case "raw":
		l.raw, o.Body = true, -1
	default:
		return l, invalidArg("format", "it must be json or raw")
	}
	o.Scan, o.Contains, o.Until = int64(scan), []byte(q.Get("contains")), time.Now().Add(longestOf(req))
	return l, nil
}

// lookTimeout is how long a request to look at messages may take, until its answer is sent.
const lookTimeout = longestLook + 30*time.Second

// inPlace has a request take one of the places of those who look at messages, until its answer is sent: that may be some MiB, and who reads it
// slowly would have it stay in memory.
func (a *api) inPlace(h httprouter.Handle) httprouter.Handle {
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) {
		select {
		case a.looking <- struct{}{}:
		default:
			httpapi.RespondError(w, refuse(http.StatusTooManyRequests, fmt.Sprintf("BUSY: %d look at messages already", cap(a.looking))))
			return
		}
		defer func() { <-a.looking }()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(lookTimeout)) // without it the server's holds, which is longer
		h(w, req, ps)
	}
}

// hidden returns why no messages are shown, nil when they are.
func (a *api) hidden() error {
	if a.cfg.HideMessages {
		return refuse(http.StatusForbidden, "MESSAGES_OFF: the broker shows no messages, as --http-messages=off says")
	}
	return nil
}

// topicMessages shows messages of a topic that somebody still has, and takes none.
func (a *api) topicMessages(w http.ResponseWriter, req *http.Request, q httpapi.Query, t source) (any, error) {
	l, err := lookOf(req, q)
	if err != nil {
		return nil, err
	}
	if err := a.hidden(); err != nil {
		return nil, err
	}
	out := httpapi.Messages{Topic: t.Name(), Role: t.Role()}
	if out.Anew, err = a.begin(q, t, &l.look); err != nil {
		return nil, err
	}
	seen, err := t.Browse(req.Context(), l.look)
	if err != nil {
		return nil, a.notShown(req, err)
	}
	return l.answer(w, out, seen.Messages, cursorOf(t, &l.look, &seen), seen.End)
}

// channelMessages shows messages as a channel has them.
func (a *api) channelMessages(w http.ResponseWriter, req *http.Request, q httpapi.Query, t source) (any, error) {
	c, err := channelOf(q, t)
	if err != nil {
		return nil, err
	}
	l, err := lookOf(req, q)
	if err != nil {
		return nil, err
	}
	if err := a.hidden(); err != nil {
		return nil, err
	}
	out := httpapi.Messages{Topic: t.Name(), Role: t.Role(), Channel: c.Name(), State: "waiting"}
	if state, ok := q.Lookup("state"); ok {
		out.State = state
	}
	browse := c.BrowseWaiting
	switch out.State {
	case "waiting":
	case "in_flight":
		browse = c.BrowseInFlight
	case "deferred":
		return a.deferredMessages(w, req, q, c, &l, out)
	default:
		return nil, invalidArg("state", "it must be waiting, in_flight or deferred")
	}
	if out.Anew, err = a.begin(q, t, &l.look); err != nil {
		return nil, err
	}
	seen, err := browse(req.Context(), l.look)
	if err != nil {
		return nil, a.notShown(req, err)
	}
	return l.answer(w, out, seen.Messages, cursorOf(t, &l.look, &seen), seen.End)
}

// deferredMessages shows what a channel has deferred, by when it is due.
func (a *api) deferredMessages(w http.ResponseWriter, req *http.Request, q httpapi.Query, c channelSource, l *looking, out httpapi.Messages) (any, error) {
	from, err := a.parseMark(q)
	if err != nil {
		return nil, err
	}
	list, next, err := c.BrowseDeferred(req.Context(), from, l.look)
	if err != nil {
		return nil, a.fail(req, err)
	}
	return l.answer(w, out, list, markText(next), next == topic.DueMark{})
}

// channelOf returns the channel that the arguments name, the topic's own backlog when they name none.
func channelOf(q httpapi.Query, t source) (channelSource, error) {
	name, ok := q.Lookup("channel")
	if !ok {
		return t.own(), nil
	}
	if c := t.channel(name); c != nil {
		return c, nil
	}
	return nil, refuse(http.StatusNotFound, noChannel)
}

// begin reads where to begin: the argument cursor, which is next of the answer before, or from, a place. anew says that the cursor is of an
// earlier topic of that name: positions begin anew then, and so does the look.
func (a *api) begin(q httpapi.Query, t source, o *topic.Look) (anew bool, err error) {
	o.From = 1
	if text, ok := q.Lookup("cursor"); ok {
		number, ok := parseCursor(text, o)
		if !ok {
			return false, invalidArg("cursor", "it must be what next of the answer before says")
		}
		if t.isCopy() && number > t.Number() {
			return false, errAskLeader // it was made anew, which this replica does not know yet
		}
		if anew = number != t.Number(); anew {
			o.From = 1
		}
		return anew, nil
	}
	p, ok, err := placeArg(q, "from")
	if !ok || err != nil {
		return false, err
	}
	if err := t.LookFrom(p, o); err != nil {
		return false, a.notFound(err)
	}
	return false, nil
}

// parseCursor reads what cursorOf has written: the topic's number, and where to go on.
func parseCursor(text string, o *topic.Look) (number uint32, ok bool) {
	of, text, _ := strings.Cut(text, "-")
	pos, since, timed := strings.Cut(text, ".")
	n, err := strconv.ParseUint(of, 10, 32)
	from, wrong := strconv.ParseUint(pos, 10, 64)
	if err != nil || wrong != nil || from == 0 {
		return 0, false
	}
	if timed {
		if o.Since, err = strconv.ParseInt(since, 10, 64); err != nil {
			return 0, false
		}
	}
	o.From = topic.Position(from)
	return uint32(n), true
}

func (a *api) notFound(err error) error {
	if errors.Is(err, topic.ErrNotDeferred) {
		return refuse(http.StatusNotFound, "MESSAGE_NOT_FOUND: no message that is there has that id")
	}
	if errors.Is(err, topic.ErrUnsure) || errors.Is(err, topic.ErrNoPositions) {
		return refuse(http.StatusBadRequest, "INVALID_PLACE: "+err.Error())
	}
	return err
}

func (a *api) notShown(req *http.Request, err error) error {
	if errors.Is(err, topic.ErrNoBrowse) {
		return refuse(http.StatusBadRequest, "NEEDS_LOG: "+err.Error())
	}
	return a.fail(req, err)
}

// cursorOf returns where to go on, as the argument cursor has it.
func cursorOf(t source, o *topic.Look, seen *topic.Looked) string {
	text := fmt.Sprintf("%d-%d", t.Number(), seen.Next)
	if o.Since > 0 {
		text += "." + strconv.FormatInt(o.Since, 10)
	}
	return text
}

// markText returns a mark as the argument from has it, empty at the end.
func markText(m topic.DueMark) string {
	if m == (topic.DueMark{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d", m.At, m.Key)
}

// answer returns what was seen: as JSON, or as the frames that consumers get.
func (l *looking) answer(w http.ResponseWriter, out httpapi.Messages, list []topic.Message, next string, end bool) (any, error) {
	w.Header().Set("Cache-Control", "no-store")
	out.Next, out.End = next, end
	if !l.raw {
		out.Messages = make([]httpapi.Message, 0, len(list))
		for i := range list {
			out.Messages = append(out.Messages, shown(&list[i], l.look.Body))
		}
		return out, nil
	}
	w.Header().Set("Brokerd-Next", next)
	w.Header().Set("Brokerd-End", strconv.FormatBool(end))
	if out.Anew {
		w.Header().Set("Brokerd-Anew", "true")
	}
	if out.Role != "" {
		w.Header().Set("Brokerd-Role", out.Role)
	}
	var frames []byte
	for i := range list {
		m := &list[i]
		frames = protocol.AppendMessageHeader(frames, m.Time, max(m.Attempts, m.Attempts+1), m.ID, len(m.Body)) // it stops at the highest
		frames = append(frames, m.Body...)
	}
	return frames, nil
}

// number returns a whole number from 1 to most, otherwise when the argument is absent.
func number(q httpapi.Query, name string, otherwise, most int) (int, error) {
	text, ok := q.Lookup(name)
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, invalidArg(name, fmt.Sprintf("it must be a number from 1 to %d", most))
	}
	return n, nil
}

// bodyArg returns how many bytes of each body are asked for; -1 is all.
func bodyArg(q httpapi.Query) (int, error) {
	text, ok := q.Lookup("body")
	switch head, is := strings.CutPrefix(text, "head:"); {
	case !ok:
		return someBody, nil
	case text == "none":
		return 0, nil
	case text == "full":
		return -1, nil
	case is:
		if n, err := strconv.Atoi(head); err == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, invalidArg("body", "it must be full, none, or head: and a number of bytes")
}

// shown returns a message of which so many bytes of the body were asked for.
func shown(m *topic.Message, most int) httpapi.Message {
	out := httpapi.Message{Position: uint64(m.Pos), ID: m.ID.String(), Time: time.Unix(0, m.Time).UTC().Format(time.RFC3339Nano), Size: m.Size,
		Attempts: m.Attempts, Client: m.Client, Delivered: moment(m.Delivered), Deadline: moment(m.Deadline), Due: moment(m.Due)}
	if m.Key != 0 {
		out.Key = keyText(m.Key)
	}
	body := m.Body
	if len(body) < m.Size {
		for cut := 1; cut < utf8.UTFMax && cut < len(body) && !utf8.Valid(body); cut++ { // a character that was cut through
			if utf8.Valid(body[:len(body)-cut]) {
				body = body[:len(body)-cut]
			}
		}
	}
	switch {
	case most == 0:
	case utf8.Valid(body):
		text := string(body)
		out.Body = &text
	default:
		out.BodyBase64 = body
	}
	for _, p := range m.Properties {
		if out.Properties == nil {
			out.Properties = map[string]string{}
		}
		out.Properties[p.Name] = p.Value
	}
	return out
}

// moment returns a time as it is shown, empty for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Round(time.Millisecond).Format("2006-01-02T15:04:05.000Z")
}
