package fleet_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"brokerd/apps/internal/apptest"
	"brokerd/apps/internal/fleet"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd") }

func newFleet(t *testing.T, brokers, lookups []string) *fleet.Fleet {
	t.Helper()
	f := fleet.New(httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: time.Minute, RequestTimeout: time.Minute}), brokers, lookups)
	t.Cleanup(f.Close)
	return f
}

// TestWhoAnswersIsKept: brokers come from lookups and by their addresses, each once; a lookup and a broker that are not there are
// failures with their addresses, and take nothing from the others.
func TestWhoAnswersIsKept(t *testing.T) {
	lookup := cmdtest.Lookup(t, "lookupd")
	one := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	two := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	one.Create(t, "orders", "c")
	two.Create(t, "other")
	gone := cmdtest.FreeAddress(t)
	f := newFleet(t, []string{one.HTTP}, []string{lookup.HTTP, gone})
	cmdtest.Eventually(t, "the lookup knows both brokers", 20*time.Second, func() bool {
		all, failures := f.Brokers(t.Context(), "")
		return len(all) == 2 && slices.Contains(all, two.HTTP) && len(failures) == 1 && failures[0].Address == gone
	})
	cmdtest.Eventually(t, "it knows who has the topic", 20*time.Second, func() bool {
		some, _ := newFleet(t, nil, []string{lookup.HTTP}).Brokers(t.Context(), "orders")
		return slices.Equal(some, []string{one.HTTP})
	})
	answers := f.Stats(t.Context(), []string{gone, one.HTTP}, fleet.Query{Topic: "orders"})
	if answers[0].Err == nil || answers[0].Address != gone || answers[1].Err != nil || answers[1].Value.Topics[0].TopicName != "orders" {
		t.Errorf("got %+v", answers)
	}
	if topics, failures := f.Topics(t.Context()); !slices.Equal(topics, []string{"orders", "other"}) || len(failures) != 1 {
		t.Errorf("topics %q, failures %v", topics, failures)
	}
}

func TestExplainSaysItInFewWords(t *testing.T) {
	refusal := &httpapi.StatusError{Code: 404, Status: "404 Not Found", Body: []byte(`{"message":"TOPIC_NOT_FOUND"}`)}
	unknown := &httpapi.StatusError{Code: 404, Status: "404 Not Found", Body: []byte(`{"message":"NOT_FOUND"}`)}
	page := &httpapi.StatusError{Code: 502, Status: "502 Bad Gateway", Body: []byte("proxy\n")}
	down := &url.Error{Op: "Get", URL: "http://a:1/stats?format=json", Err: errors.New("connection refused")}
	for want, err := range map[string]error{
		"404 TOPIC_NOT_FOUND": fmt.Errorf("asking: %w", refusal), "502 Bad Gateway": page, "connection refused": down, "other": errors.New("other"),
	} {
		if got := fleet.Explain(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if !fleet.IsNotFound(refusal) || fleet.IsNotFound(unknown) || fleet.IsNotFound(page) {
		t.Error("what is not there is taken for something else, or the other way round")
	}
	if f := (fleet.Failure{Address: "a:1", Err: refusal}); f.Error() != "a:1: 404 TOPIC_NOT_FOUND" || !errors.Is(f, error(refusal)) {
		t.Errorf("got %v", f)
	}
}

// TestBacklogCountsWhatWaits in a channel of several topics, and says when it does not know.
func TestBacklogCountsWhatWaits(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	for topic, bodies := range map[string][]string{"a": {"1", "2"}, "b": {"3"}, "c": {"4"}} {
		broker.Create(t, topic, "x", "y")
		apptest.Publish(t, broker, topic, bodies...)
	}
	topics := func() []string { return []string{"a", "b"} }
	f := newFleet(t, []string{broker.HTTP}, nil)
	if left, ok := fleet.NewBacklog(t.Context(), f, "x", topics).Left(); left != 3 || !ok {
		t.Errorf("%d messages wait, %v", left, ok)
	}
	if left, ok := fleet.NewBacklog(t.Context(), newFleet(t, []string{broker.HTTP, cmdtest.FreeAddress(t)}, nil), "x", topics).Left(); ok {
		t.Errorf("%d messages wait for all that is known of one broker of two", left)
	}
	if _, err := f.Do(t.Context(), http.MethodPost, broker.HTTP, "/topic/delete?topic=a", nil); err != nil {
		t.Fatal(err)
	}
	if left, ok := fleet.NewBacklog(t.Context(), f, "x", topics).Left(); left != 1 || !ok {
		t.Errorf("%d messages wait, %v", left, ok)
	}
}
