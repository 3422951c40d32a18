package appkit

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

func quiet() *Env { return &Env{Name: "test", Log: slog.New(slog.DiscardHandler)} }

func lookupThatSays(t *testing.T, code int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// TestDiscoveryOutlivesALookup holds that one lookup that fails takes nothing from what the others know.
func TestDiscoveryOutlivesALookup(t *testing.T) {
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: cmdtest.Patience, RequestTimeout: cmdtest.Patience})
	t.Cleanup(client.Close)
	nobody := cmdtest.FreeAddress(t)
	one := lookupThatSays(t, 200, `{"topics":["b","a"],"producers":[{"broadcast_address":"h","http_port":2,"tcp_port":1}]}`)
	two := lookupThatSays(t, 200, `{"topics":["c","a"],"producers":[{"broadcast_address":"h","http_port":2,"tcp_port":1},
		{"broadcast_address":"g","http_port":2,"tcp_port":1}]}`)
	broken := lookupThatSays(t, 500, `{"message":"INTERNAL_ERROR"}`)
	unknowing := lookupThatSays(t, 404, `{"message":"TOPIC_NOT_FOUND"}`)

	d := NewDiscovery(client, []string{nobody, one, broken, "http://" + two, unknowing})
	topics, err := d.Topics(t.Context())
	if !slices.Equal(topics, []string{"a", "b", "c"}) {
		t.Errorf("topics %q", topics)
	}
	var failed *LookupError
	if !errors.As(err, &failed) || failed.Address != nobody || d.Dead(err) || !strings.Contains(err.Error(), broken) {
		t.Errorf("the error is %v", err)
	}
	producers, _ := d.Producers(t.Context(), "a")
	if len(producers) != 2 || producers[0].TCPAddress() != "g:1" {
		t.Errorf("producers %v", producers)
	}
	d = NewDiscovery(client, []string{nobody, broken})
	if _, err := d.Topics(t.Context()); !d.Dead(err) {
		t.Errorf("no lookup answered, but the error is %v", err)
	}
	d = NewDiscovery(client, []string{unknowing})
	if nodes, err := d.Nodes(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("a lookup that knows nothing: %v, %v", nodes, err)
	}
}

func consumerFlags(t *testing.T, args ...string) (*ConsumerFlags, error) {
	t.Helper()
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(new(bytes.Buffer))
	c := AddConsumerFlags(flags, 200)
	return c, flags.Parse(args)
}

func TestConsumerFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "--nsqd-tcp-address or --lookupd-http-address required"},
		{"--nsqd-tcp-address=a:1 --lookupd-http-address=b:1", "use --nsqd-tcp-address or --lookupd-http-address not both"},
		{"--nsqd-tcp-address=a:1 --max-in-flight=0", "--max-in-flight must be at least 1"},
		{"--nsqd-tcp-address=a:1 --max-attempts=70000", "--max-attempts must be 0 to 65535"},
		{"--nsqd-tcp-address=a:1 --nsqd-tcp-address=b:1", ""},
	} {
		flags, err := consumerFlags(t, strings.Fields(c.args)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := flags.Check(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v", c.args, err)
		}
	}
	if _, err := consumerFlags(t, "--consumer-opt=no_such_option,1"); err == nil {
		t.Error("an unknown option is fine")
	}
	for args, want := range map[string]uint16{
		"--nsqd-tcp-address=a:1": 0, "--nsqd-tcp-address=a:1 --max-attempts=3": 3,
		"--nsqd-tcp-address=a:1 --consumer-opt=max-attempts,7 --consumer-opt=snappy": 7,
	} {
		flags, err := consumerFlags(t, strings.Fields(args)...)
		if err != nil {
			t.Fatal(err)
		}
		config, err := flags.Config(quiet())
		if err != nil || config.MaxAttempts != want || config.MaxInFlight != 200 || config.Snappy != strings.Contains(args, "snappy") {
			t.Errorf("%q: %v, %d attempts, %d in flight", args, err, config.MaxAttempts, config.MaxInFlight)
		}
	}
}

// TestConsumerOfABrokerThatComesLater holds that a broker which is down at the start is found when it is up.
func TestConsumerOfABrokerThatComesLater(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	broker.Create(t, "t", "c")
	broker.Kill(t)
	flags, err := consumerFlags(t, "--nsqd-tcp-address="+broker.TCP)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	consumer, err := flags.Start(quiet(), "t", "c", 1, nsq.HandlerFunc(func(m *nsq.Message) error {
		got <- string(m.Body)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	broker.Start(t)
	apptest.Publish(t, broker, "t", "hello")
	if body := <-got; body != "hello" {
		t.Errorf("got %q", body)
	}
	if _, err := flags.Start(quiet(), "a b", "c", 1, nil); err == nil {
		t.Error("a bad topic is fine")
	}
}

// TestPublisherGoesOn holds that a publisher finds its broker again, and that a refusal costs nobody else the connection.
func TestPublisherGoesOn(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	inbox := apptest.Consume(t, "t", "c", broker)
	p := NewPublisher(broker.TCP, cmdtest.ClientConfig(), quiet().Log)
	defer p.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(p.Publish(t.Context(), "t", []byte("one")))
	must(p.PublishAll(t.Context(), "t", nil))
	if err := p.Publish(t.Context(), "bad$topic", []byte("x")); !Permanent(err) {
		t.Errorf("a bad topic's error is %v", err)
	}
	must(Retry(t.Context(), Backoff{}, func() error { return p.PublishAll(t.Context(), "t", [][]byte{[]byte("two"), []byte("three")}) }))
	broker.Kill(t)
	err := p.Publish(t.Context(), "t", []byte("lost"))
	if err == nil || Permanent(err) {
		t.Errorf("without a broker the error is %v", err)
	}
	broker.Start(t)
	must(Retry(t.Context(), Backoff{}, func() error { return p.PublishDeferred(t.Context(), "t", time.Millisecond, []byte("four")) }))
	cmdtest.Eventually(t, "all are there", 10*time.Second, func() bool {
		bodies := inbox.Bodies()
		return bodies["one"] > 0 && bodies["two"] > 0 && bodies["three"] > 0 && bodies["four"] > 0
	})
	p.Close()
	if err := p.Publish(t.Context(), "t", []byte("five")); !errors.Is(err, ErrClosed) {
		t.Errorf("closed, the error is %v", err)
	}
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 5 * time.Second}
	for _, most := range []time.Duration{1, 2, 4, 5, 5} {
		if got := b.Next(); got > most*time.Second || got < most*time.Second/2 {
			t.Errorf("waited %v, wanted %d s or up to a half less", got, most)
		}
	}
	b.Reset()
	if got := b.Next(); got > time.Second {
		t.Errorf("anew it waits %v", got)
	}
}

func TestRetryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad")
		tries := 0
		if err := Retry(t.Context(), Backoff{}, func() error {
			if tries++; tries < 3 {
				return bad
			}
			return nil
		}); err != nil || tries != 3 {
			t.Errorf("%v after %d tries", err, tries)
		}
		if err := Retry(t.Context(), Backoff{}, func() error { return Stop(bad) }); err != bad {
			t.Errorf("stopped by %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Retry(ctx, Backoff{}, func() error { return bad }); !errors.Is(err, bad) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("out of time: %v", err)
		}
	})
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		for l, i := NewLimiter(10), 0; i < 21; i++ {
			l.Wait(t.Context())
		}
		if took := time.Since(began); took < 1990*time.Millisecond || took > 2010*time.Millisecond {
			t.Errorf("21 at 10 a second took %v", took)
		}
		began = time.Now()
		for l, i := NewLimiter(0), 0; i < 1e5; i++ {
			l.Wait(t.Context())
		}
		if time.Since(began) != 0 {
			t.Error("no limit is a limit")
		}
	})
}

func TestClientLogKeepsLevels(t *testing.T) {
	var text bytes.Buffer
	log := ClientLog{slog.New(slog.NewTextHandler(&text, nil))}
	log.Output(0, "WRN    1 [t/c] backing off")
	log.Output(0, "DBG    1 [t/c] heartbeat")
	if got := text.String(); !strings.Contains(got, `level=WARN msg="1 [t/c] backing off"`) || strings.Contains(got, "heartbeat") {
		t.Errorf("logged %q", got)
	}
}
