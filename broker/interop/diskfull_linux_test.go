package interop

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// TestFullDiskRefusesPublishesAndRecovers fills the disk of a broker whose consumer is not there. Publishes must be refused with
// a reason, and health say so; a consumer must get all that was acknowledged; draining must make publishes possible again.
func TestFullDiskRefusesPublishesAndRecovers(t *testing.T) {
	for _, space := range []struct {
		name, free, reason string
		killed             bool
	}{
		{"watermark", "24MiB", "min-free-space", false},
		{"to the last byte", "0", "no space left", false},
		{"started anew on the full disk", "0", "no space left", true},
	} {
		t.Run(space.name, func(t *testing.T) {
			t.Parallel()
			disk := cmdtest.SmallDisk(t, 96<<10)
			b := newBroker(t, "brokerd", "brokerd", filepath.Join(disk, "data"), "--min-free-space="+space.free,
				"--mem-queue-size=100")
			b.Start(t)
			b.Create(t, topic, channel)
			acked := fillDisk(t, b, space.reason)
			if space.killed {
				b.Kill(t)
				fillRest(t, disk)
				b.Start(t)
			}
			in := newInbox()
			consumer := consume(t, topic, channel, in)
			if err := consumer.ConnectToNSQD(b.TCP); err != nil {
				t.Fatal(err)
			}
			cmdtest.Eventually(t, "all that was acknowledged arrives", 20*time.Second, func() bool { n, _ := in.size(); return n >= len(acked) })
			expectAll(t, in, acked)
			cmdtest.Eventually(t, "health is good again", 20*time.Second, func() bool { return ask(t, b, "GET", "/ping", "").status == 200 })
			later := publishMore(t, b)
			cmdtest.Eventually(t, "what is published then arrives", 20*time.Second, func() bool { return in.has(later) })
			leave(consumer)
			b.Kill(t)
			b.Start(t)
			if c := b.Channel(t, topic, channel); c.Depth+int64(c.InFlightCount) > 200 {
				t.Errorf("after a kill %d messages are there again that were finished", c.Depth)
			}
			b.Stop(t)
		})
	}
}

// fillDisk publishes until that is refused, and returns what was acknowledged.
func fillDisk(t *testing.T, b *cmdtest.Process, reason string) map[string]bool {
	t.Helper()
	producer, err := newProducer(b.TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Stop()
	acked := map[string]bool{}
	for n := range 100 << 20 >> 13 {
		body := fmt.Sprintf("%d %s", n, strings.Repeat("x", 8<<10))
		if err = producer.Publish(topic, []byte(body)); err != nil {
			break
		}
		acked[body] = true
	}
	var refusal nsq.ErrProtocol
	if !errors.As(err, &refusal) || !strings.HasPrefix(refusal.Reason, "E_PUB_FAILED") || !strings.Contains(refusal.Reason, reason) {
		t.Fatalf("after %d messages a producer is told %v; wanted E_PUB_FAILED with %q", len(acked), err, reason)
	}
	t.Logf("%d messages fit; then: %v", len(acked), err)
	cmdtest.Eventually(t, "the node is unhealthy", 5*time.Second, func() bool {
		got := ask(t, b, "GET", "/ping", "")
		return got.status == 500 && strings.Contains(got.body, "NOK") && strings.Contains(got.body, "space")
	})
	got := ask(t, b, "POST", "/pub?topic="+topic, strings.Repeat("y", 8<<10))
	t.Logf("POST /pub: %d %s", got.status, got.body)
	if got.status != http.StatusServiceUnavailable {
		t.Errorf("POST /pub on a full disk is answered with %d %s, wanted 503", got.status, got.body)
	}
	return acked
}

// fillRest takes what is left of a disk, to the last byte.
func fillRest(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "rest"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if n, err := f.Write(make([]byte, size)); err != nil && n == 0 {
			size /= 2
		}
	}
}

// expectAll holds that every acknowledged body has come.
func expectAll(t *testing.T, in *inbox, acked map[string]bool) {
	t.Helper()
	missing := 0
	for body := range acked {
		if !in.has(body) {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d acknowledged messages did not arrive", missing, len(acked))
	}
}

// publishMore publishes one more message, which must be accepted, and returns it.
func publishMore(t *testing.T, b *cmdtest.Process) string {
	t.Helper()
	producer, err := newProducer(b.TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Stop()
	body := "after the disk was full"
	if err := producer.Publish(topic, []byte(body)); err != nil {
		t.Errorf("the node is healthy, and a publish is refused: %v", err)
	}
	return body
}
