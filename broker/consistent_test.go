package broker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// textOf returns the bodies of messages.
func textOf(m httpapi.Messages) string {
	var all []string
	for _, one := range m.Messages {
		all = append(all, *one.Body)
	}
	return strings.Join(all, " ")
}

// published has a broker take messages, one a line, and reports whether it has.
func (s *sim) published(at int, lines string) bool {
	status, text := s.ask(at, "POST", "/mpub?topic="+simTopic, lines)
	return status == http.StatusOK && text == "OK"
}

// shows returns what a broker shows of the topic, with the role that it has: an error as its status and text.
func (s *sim) shows(at int, more string) string {
	query := "/topic/messages?topic=" + simTopic + more
	status, text := s.ask(at, "GET", query, "")
	if status != http.StatusOK {
		return fmt.Sprint(status, " ", text)
	}
	_, m := s.look(at, query)
	return m.Role + ": " + textOf(m)
}

// at returns the number of a broker.
func (s *sim) at(b *simBroker) int { return slices.Index(s.brokers, b) }

// cutOff cuts a broker off from the others, or ends that.
func (s *sim) cutOff(b *simBroker, cut bool) {
	for _, o := range s.others(b) {
		s.n.Cut(cut, b.host, o.host)
		s.n.Cut(cut, o.host, b.host)
	}
}

// TestAnyReplicaShowsMessages: of four brokers three have a replica. Who leads shows the topic as it has it, who follows its own copy, and the fourth one what
// the leader shows; with consistent=true they all do. A page that one of them has begun another one goes on with.
func TestAnyReplicaShowsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimOf(t, 81, 4)
		s.prepare()
		if !s.published(0, "one\ntwo\nthree\nfour\nfive") {
			t.Fatal("not published")
		}
		roles := func() (count map[string]int) {
			count = map[string]int{}
			for i := range s.brokers {
				count[s.shows(i, "")]++
			}
			return count
		}
		const all = "one two three four five"
		s.eventually("all show all", time.Minute, func() bool {
			c := roles()
			return c["leader: "+all] == 2 && c["follower: "+all] == 2
		})
		cursor, pages := "", []string{}
		for i := range 5 {
			if got := s.shows(i, "&consistent=true"); got != "leader: "+all {
				t.Errorf("broker %d: %s", i, got)
			}
			for _, bad := range []string{"", "yes", "2", "true&consistent=true"} {
				if got := s.shows(i, "&consistent="+bad); !strings.HasPrefix(got, "400") || !strings.Contains(got, "CONSISTENT") {
					t.Errorf("consistent=%s at broker %d: %s", bad, i, got)
				}
			}
			_, m := s.look(i, "/topic/messages?limit=2&topic="+simTopic+cursor)
			cursor, pages = "&cursor="+m.Next, append(pages, textOf(m))
		}
		if got := strings.Join(pages, ", "); got != "one two, three four, five, , " {
			t.Errorf("page by page, each from another broker: %s", got)
		}
		if status, text := s.ask(0, "POST", "/topic/create?topic=mine", ""); status != http.StatusOK {
			t.Error(text)
		}
		if status, text := s.ask(0, "GET", "/topic/messages?consistent=true&topic=mine", ""); status != http.StatusOK || strings.Contains(text, "role") {
			t.Errorf("a topic of one broker: %d %s", status, text)
		}
		s.ofChannels()
		s.stopAll()
	})
}

// ofChannels holds what the brokers say of one channel to each other.
func (s *sim) ofChannels() {
	t := s.t
	c, err := s.dial(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write("SUB " + simTopic + " " + simChannel + "\nRDY 2\n"); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < 2; {
		f, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == prototest.Message {
			got++
		}
	}
	if status, text := s.ask(1, "POST", "/pub?defer=3600000&topic="+simTopic, "later"); status != http.StatusOK {
		t.Fatal(text)
	}
	time.Sleep(time.Second)
	for i := range s.brokers {
		of := func(state string) httpapi.Messages {
			_, m := s.look(i, "/channel/messages?channel="+simChannel+"&state="+state+"&topic="+simTopic)
			return m
		}
		if got := textOf(of("waiting")); got != "three four five" {
			t.Errorf("broker %d: %q waits", i, got)
		}
		if m := of("deferred"); textOf(m) != "later" || m.Messages[0].Due == "" {
			t.Errorf("broker %d: deferred %+v", i, m)
		}
		m := of("in_flight")
		if textOf(m) != "one two" {
			t.Errorf("broker %d: in flight %+v", i, m)
		}
		for _, one := range m.Messages {
			if knows := one.Client != "" && one.Deadline != ""; one.Attempts != 1 || knows != (m.Role == roleOfLeader) {
				t.Errorf("broker %d, the %s: %+v", i, m.Role, one)
			}
		}
		var at httpapi.MessageAt
		status, text := s.ask(i, "GET", "/message?topic="+simTopic+"&id="+m.Messages[1].ID, "")
		if err := json.Unmarshal([]byte(text), &at); err != nil || status != http.StatusOK || at.Position != 2 || *at.Body != "two" || at.Role != m.Role || len(at.Channels) != 2 ||
			at.Channels[0].State != "waiting" || at.Channels[1].State != "in_flight" {
			t.Errorf("broker %d: %d %s", i, status, text)
		}
		if status, text := s.ask(i, "GET", "/message?pos=9&topic="+simTopic, ""); status != http.StatusNotFound {
			t.Errorf("broker %d, of no message: %d %s", i, status, text)
		}
		if status, text := s.ask(i, "GET", "/channel/messages?channel=none&topic="+simTopic, ""); status != http.StatusNotFound {
			t.Errorf("broker %d, of no channel: %d %s", i, status, text)
		}
		if status, text := s.ask(i, "GET", "/channel/deferred?channel="+simChannel+"&topic="+simTopic, ""); status != http.StatusOK || !strings.Contains(text, `"deferred":1,`) {
			t.Errorf("broker %d: %d %s", i, status, text)
		}
		if status, text := s.ask(i, "GET", "/message?history=true&pos=1&topic="+simTopic, ""); status != http.StatusBadRequest || !strings.Contains(text, "NEEDS_LOG") { // there is none of replicated topics yet
			t.Errorf("broker %d, the history: %d %s", i, status, text)
		}
	}
	c.Conn.Close()
}

const roleOfLeader = "leader"

// TestAFollowerShowsLessAndNeverMore: what is not committed nobody shows, also those who have it; who is cut off shows what it has, and says where to ask when that
// is not enough.
func TestAFollowerShowsLessAndNeverMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 83)
		s.prepare()
		if !s.published(0, "one") {
			t.Fatal("not published")
		}
		s.eventually("all show it", time.Minute, func() bool {
			return !slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return !strings.HasSuffix(s.shows(i, ""), ": one") })
		})
		l := s.leader()
		for _, o := range s.others(l) { // they get what it sends, and their answers are lost
			s.n.Cut(true, o.host, l.host)
		}
		answered := make(chan bool, 1)
		go func() { answered <- s.published(s.at(l), "two") }()
		for range 20 {
			time.Sleep(20 * time.Millisecond)
			for i := range s.brokers {
				if got := s.shows(i, ""); !strings.HasSuffix(got, ": one") {
					t.Errorf("broker %d shows what is not committed: %s", i, got)
				}
			}
		}
		for _, o := range s.others(l) {
			s.n.Cut(false, o.host, l.host)
		}
		s.eventually("all is well again", time.Minute, s.well)
		want := "one"
		if <-answered {
			want = "one two"
		}
		for i := range s.brokers {
			if got := s.shows(i, "&consistent=true"); !strings.HasPrefix(got, "leader: "+want) {
				t.Errorf("broker %d: %s, want %s", i, got, want)
			}
		}
		off := s.others(s.leader())[0]
		s.eventually("the one has all", time.Minute, func() bool { return strings.HasPrefix(s.shows(s.at(off), ""), "follower: "+want) })
		before := s.shows(s.at(off), "")
		s.cutOff(off, true)
		s.eventually("the others take publishes", time.Minute, func() bool { return s.published(s.at(s.others(off)[0]), "three") })
		if got := s.shows(s.at(off), ""); got != before {
			t.Errorf("who is cut off shows %s, and before %s", got, before)
		}
		if got := s.shows(s.at(off), "&consistent=true"); !strings.HasPrefix(got, "503") || !strings.Contains(got, "without it a broker that has a replica answers as far as it knows: 127.0.0.") {
			t.Errorf("for certain: %s", got)
		}
		s.cutOff(off, false)
		s.eventually("all is well again", time.Minute, s.well)
		s.eventually("it shows the rest", time.Minute, func() bool { return strings.HasSuffix(s.shows(s.at(off), ""), "three") })
		s.stopAll()
	})
}

// TestALeaderThatIsCutOffShowsNothingForCertain: one whose election timeout is longer believes that it leads while another one does. It answers a request that
// wants all there is with an error, and others with what it has.
func TestALeaderThatIsCutOffShowsNothingForCertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 86)
		for _, b := range s.brokers {
			b.opts.ClusterElection = 2 * time.Second
		}
		s.prepare()
		old := s.leader()
		for _, b := range s.others(old) {
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			b.opts.ClusterElection = 500 * time.Millisecond
			b.start()
			s.eventually("all is well with the other setting", time.Minute, s.well)
		}
		at, other := s.at(old), s.at(s.others(old)[0])
		if !s.published(at, "one") || s.leader() != old {
			t.Fatal("not published, or led by another one")
		}
		s.cutOff(old, true)
		s.eventually("another one leads", time.Minute, func() bool { return s.published(other, "two") })
		if got := s.shows(at, ""); got != "leader: one" {
			t.Fatalf("it does not believe that it leads, so that nothing is tested: %s", got)
		}
		if got := s.shows(at, "&consistent=true"); !strings.HasPrefix(got, "503") {
			t.Errorf("for certain it shows %s", got)
		}
		if got := s.shows(other, "&consistent=true"); !strings.HasPrefix(got, "leader: one two") {
			t.Errorf("the next leader shows %s", got)
		}
		s.cutOff(old, false)
		s.eventually("all is well again", time.Minute, s.well)
		if got := s.shows(at, "&consistent=true"); !strings.HasPrefix(got, "leader: one two") {
			t.Errorf("when all is well: %s", got)
		}
		s.stopAll()
	})
}
