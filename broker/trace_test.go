package broker_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"brokerd/broker"
)

// TestTracesTellOfPublishesAndDeliveriesWithoutBodies, at each level, over TCP and HTTP.
func TestTracesTellOfPublishesAndDeliveriesWithoutBodies(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"memory", "disk"} {
		t.Run(level, func(t *testing.T) {
			var mu sync.Mutex
			var got strings.Builder
			collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s: %v", r.Method, r.URL, err)
				}
				got.Write(body)
			}))
			defer collector.Close()
			n := start(t, func(o *broker.Options) {
				o.OTLPEndpoint, o.OTLPSample = collector.URL, 1
				if err := o.Durability.Set(level); err != nil {
					t.Fatal(err)
				}
			})
			c := n.subscribe("orders", "billing", 5)
			n.publish("orders", "canary-1", "canary-2")
			first := c.ExpectMessage("canary-1", 1)
			c.ExpectMessage("canary-2", 1)
			c.Send("REQ " + first.ID + " 0\n")
			c.ExpectMessage("canary-1", 2)
			text := func() string {
				mu.Lock()
				defer mu.Unlock()
				return got.String()
			}
			eventually(t, "five spans have come", func() bool { return strings.Count(text(), `"spanId"`) == 5 })
			if spans := text(); strings.Count(spans, "publish orders") != 2 || strings.Count(spans, "deliver orders/billing") != 3 ||
				!strings.Contains(spans, first.ID) || strings.Contains(spans, "canary") {
				t.Errorf("spans:\n%s", spans)
			}
			eventually(t, "metrics count them", func() bool { return strings.Contains(n.get("/metrics"), "brokerd_trace_spans_total 5") })
		})
	}
}
