package httpd

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// entries are of a group whose topic orders has the number 7, channel c and the messages one, two and three.
var entries = []string{
	"AAAAAAAAAAEFL3sib3AiOiJjcmVhdGUtdG9waWMiLCJ0b3BpYyI6NywibmFtZSI6Im9yZGVycyJ9",
	"AAAAAAAAAAIFOHsib3AiOiJjcmVhdGUtY2hhbm5lbCIsInRvcGljIjo3LCJjaGFubmVsIjo4LCJuYW1lIjoiYyJ9",
	"AAAAAAAAAAMBOwAAAAcAAAAAAAAAAAAAAAAAAQAAAAEAAAAhAAAAAgAAAAAAAAABAAEwMDAwMDAwMDAwMDAwMDAxb25l",
	"AAAAAAAAAAQBOwAAAAcAAAAAAAAAAAAAAAAAAgAAAAEAAAAhAAAAAgAAAAAAAAACAAEwMDAwMDAwMDAwMDAwMDAydHdv",
	"AAAAAAAAAAUBPQAAAAcAAAAAAAAAAAAAAAAAAwAAAAEAAAAjAAAAAgAAAAAAAAADAAEwMDAwMDAwMDAwMDAwMDAzdGhyZWU=",
}

// copied returns the copy of topic orders that a replica has which follows.
func copied(t *testing.T, r *topic.Registry) *topic.Copy {
	t.Helper()
	s := topic.NewStandby()
	for _, text := range entries {
		b, err := base64.StdEncoding.DecodeString(text)
		if err == nil {
			err = s.Apply(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return r.CopyOf(s, 7)
}

// TestACopyAnswers: a broker that follows shows its own copy and asks nobody, but for what only who leads knows, and for what is meant for all there is. An argument
// that says neither yes nor no is refused before anybody is asked.
func TestACopyAnswers(t *testing.T) {
	follower, leader, to := pair(t)
	if _, err := leader.broker.registry.Topic("orders"); err != nil {
		t.Fatal(err)
	}
	to.cluster.copies = map[string]*topic.Copy{"orders": copied(t, follower.broker.registry)}
	for _, c := range []struct {
		path   string
		status int
		want   string // in the answer; of messages their bodies
		asked  bool
	}{
		{"/topic/messages?topic=orders", 200, "one two three", false},
		{"/topic/messages?topic=orders&consistent=false&limit=2", 200, "one two", false},
		{"/topic/messages?topic=orders&from=pos:3", 200, "three", false},
		{"/topic/messages?topic=orders&from=id:0000000000000002", 200, "two three", false},
		{"/topic/messages?topic=orders&from=id:0000000000000009", 400, "INVALID_PLACE", true}, // who leads may have it
		{"/topic/messages?topic=orders&cursor=7-2", 200, "two three", false},
		{"/topic/messages?topic=orders&cursor=5-2", 200, "one two three", false}, // of an earlier topic of that name
		{"/topic/messages?topic=orders&cursor=9-2", 400, "NEEDS_LOG", true},      // of a later one, that is not known here yet
		{"/topic/messages?topic=orders&consistent=true", 400, "NEEDS_LOG", true}, // there it has no log
		{"/topic/messages?topic=orders&consistent=1", 400, "NEEDS_LOG", true},    //
		{"/topic/messages?topic=orders&consistent=maybe", 400, "INVALID_ARG_CONSISTENT: it must be true or false", false},
		{"/topic/messages?topic=orders&consistent=", 400, "INVALID_ARG_CONSISTENT: it must be true or false", false},
		{"/topic/messages?topic=orders&limit=0", 400, "INVALID_ARG_LIMIT", false},
		{"/topic/messages?topic=none&consistent=maybe", 400, "INVALID_ARG_CONSISTENT", false},
		{"/topic/messages?topic=none&consistent=true", 404, "TOPIC_NOT_FOUND", false},
		{"/channel/messages?topic=orders&channel=c", 200, "one two three", false},
		{"/channel/messages?topic=orders", 200, "", false},
		{"/channel/messages?topic=orders&channel=c&state=in_flight", 200, "", false},
		{"/channel/messages?topic=orders&channel=c&state=deferred", 200, "", false},
		{"/channel/messages?topic=orders&channel=d", 404, "CHANNEL_NOT_FOUND", true},
		{"/channel/deferred?topic=orders&channel=c", 200, `"deferred":0`, false},
		{"/message?topic=orders&pos=2", 200, `"state":"waiting"`, false},
		{"/message?topic=orders&pos=4", 400, "NEEDS_LOG", true},
		{"/message?topic=orders&pos=2&history=true", 400, "NEEDS_LOG", true},
		{"/message?topic=orders&pos=2&history=no", 400, "INVALID_ARG_HISTORY", true},
		{"/message?topic=orders&pos=2&consistent=true", 400, "NEEDS_LOG", true},
	} {
		before := to.acts
		r, body := follower.do("GET", c.path, "")
		got := body
		if strings.Contains(c.path, "messages") && r.StatusCode == 200 {
			var m httpapi.Messages
			if err := json.Unmarshal([]byte(body), &m); err != nil || m.Role != "follower" || m.Anew != strings.Contains(c.path, "cursor=5") {
				t.Errorf("%s: %v %s", c.path, err, body)
			}
			var all []string
			for _, one := range m.Messages {
				all = append(all, *one.Body)
			}
			if got = strings.Join(all, " "); got != c.want {
				t.Errorf("%s shows %q", c.path, got)
			}
		}
		if r.StatusCode != c.status || !strings.Contains(got, c.want) || to.acts > before != c.asked {
			t.Errorf("%s: %d %s, who leads was asked: %v", c.path, r.StatusCode, got, to.acts > before)
		}
	}
	r, body := follower.do("GET", "/topic/messages?topic=orders&format=raw&limit=1", "")
	if r.Header.Get("Brokerd-Role") != "follower" || r.Header.Get("Brokerd-Next") != "7-2" || !strings.HasSuffix(body, "one") {
		t.Errorf("raw: %v %q", r.Header, body)
	}
}

// TestNobodyShowsMessages: the error says whom to ask in place of who leads.
func TestNobodyShowsMessages(t *testing.T) {
	follower, _, to := pair(t)
	to.err = topic.ErrElsewhere
	for query, want := range map[string]string{
		"":                 "no broker was found in time that leads the topic; a broker that has a replica answers as far as it knows: b:4170, c:4170",
		"&consistent=true": "leads the topic for certain, as consistent=true asks for; without it a broker that has a replica answers as far as it knows: b:4170, c:4170",
	} {
		r, body := follower.do("GET", "/topic/messages?topic=orders"+query, "")
		if got := fmt.Sprint(r.StatusCode, " ", body); !strings.HasPrefix(got, "503") || !strings.Contains(got, "NOT_LEADER: ") || !strings.Contains(got, want) {
			t.Errorf("%q: %s", query, got)
		}
	}
}

// TestALookWaitsForThisBrokerToLead: as it is about to, or to notice that it does not any more, which the others know already.
func TestALookWaitsForThisBrokerToLead(t *testing.T) {
	follower, leader, to := pair(t)
	if _, err := leader.broker.registry.Topic("orders"); err != nil {
		t.Fatal(err)
	}
	to.err = ErrActHere
	to.before = func() {
		if to.acts == 3 {
			to.err = nil
		}
	}
	if r, body := follower.do("GET", "/topic/messages?topic=orders&consistent=true", ""); r.StatusCode != 400 || !strings.Contains(body, "NEEDS_LOG") || to.acts != 3 {
		t.Errorf("%d %s, asked %d times", r.StatusCode, body, to.acts)
	}
}

// TestALookForAnotherBrokerIsShort: that one gives up when there is no answer within --cluster-wait.
func TestALookForAnotherBrokerIsShort(t *testing.T) {
	a := &api{acts: map[string]httpapi.HandlerFunc{}}
	var until time.Duration
	a.acts["GET /look"] = func(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
		q, err := httpapi.ParseQuery(req)
		if err != nil {
			return nil, err
		}
		l, err := lookOf(req, q)
		until = time.Until(l.look.Until)
		return nil, err
	}
	a.actHere([]byte(`{"route":"GET /look","query":"contains=x"}`))
	if until > longestThere {
		t.Errorf("it may take %v", until)
	}
}
