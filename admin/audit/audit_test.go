package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestTrail: an act is a line of the log and of the file, and a file that was there is appended to.
func TestTrail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	var log bytes.Buffer
	act := Act{Time: time.Unix(1700000000, 0).UTC(), User: "alice\n", Action: "delete_topic", Topic: "orders", Result: "done"}
	r := httptest.NewRequest("DELETE", "/api/topics/orders", nil)
	r.Header.Set("X-Forwarded-For", "10.0.0.1")
	act.From(r)
	for range 2 {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		trail := New(file, slog.New(slog.NewTextHandler(&log, nil)))
		trail.Write(act)
		if err := trail.Close(); err != nil {
			t.Error(err)
		}
		trail.Write(act) // to the log only
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	want := `{"time":"2023-11-14T22:13:20Z","user":"alice\n","remote":"192.0.2.1:1234","forwarded":"10.0.0.1","user_agent":"","action":"delete_topic","topic":"orders","result":"done"}`
	if len(lines) != 2 || lines[1] != want {
		t.Errorf("file %s", text)
	}
	if strings.Count(log.String(), "msg=act action=delete_topic topic=orders") != 4 {
		t.Errorf("log %s", &log)
	}
}

// endpoint answers notifications without a network.
type endpoint func(body string) (*http.Response, error)

func (e endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		return nil, err
	}
	return e(body.String())
}

func answer(status int) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: http.NoBody}
}

// TestNotifications: they arrive in order, a failing one is logged and the next is sent all the same, and what waits at the end is
// still sent.
func TestNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var got []Notification
		client := &http.Client{Transport: endpoint(func(body string) (*http.Response, error) {
			var n Notification
			if err := json.Unmarshal([]byte(body), &n); err != nil {
				t.Error(err)
			}
			got = append(got, n)
			switch n.Topic {
			case "refused":
				return answer(500), nil
			case "unreachable":
				return nil, context.DeadlineExceeded
			}
			return answer(200), nil
		})}
		n := NewNotifier("http://endpoint.example/", client, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.Run(ctx)
		}()
		for _, topic := range []string{"refused", "unreachable", "fine"} {
			n.Send(Notification{Action: "pause_topic", Topic: topic})
		}
		synctest.Wait()
		if len(got) != 3 || got[2].Topic != "fine" || strings.Count(log.String(), "notification failed") != 2 {
			t.Errorf("got %+v, log %s", got, &log)
		}
		cancel()
		<-done
		n.Send(Notification{Topic: "late"})
		n.Run(ctx)
		if len(got) != 4 {
			t.Errorf("what waited at the end was not sent: %+v", got)
		}
	})
}

// TestNotificationsDoNotPile: when the endpoint is slow acts go on, and what finds no room is logged.
func TestNotificationsDoNotPile(t *testing.T) {
	var log bytes.Buffer
	n := NewNotifier("http://endpoint.example/", nil, slog.New(slog.NewTextHandler(&log, nil)))
	for range waiting + 1 {
		n.Send(Notification{Action: "pause_topic"})
	}
	if strings.Count(log.String(), "dropped") != 1 {
		t.Errorf("log %s", &log)
	}
	none := NewNotifier("", nil, slog.Default())
	none.Send(Notification{})
	if len(none.queue) != 0 {
		t.Error("without an endpoint it was kept")
	}
}
