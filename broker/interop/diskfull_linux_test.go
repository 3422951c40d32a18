package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"
)

// smallDisk mounts a file system of some MiB in memory and returns its folder.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting a file system of its own needs root")
	}
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skipf("NOT RUN: no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

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
			disk := smallDisk(t, 96)
			b := newBroker(t, "brokerd", "brokerd", filepath.Join(disk, "data"), "--min-free-space="+space.free,
				"--mem-queue-size=100")
			b.start(t)
			b.post(t, "/topic/create", topic, "")
			b.post(t, "/channel/create", topic, channel)
			acked := fillDisk(t, b, space.reason)
			if space.killed {
				b.kill(t)
				fillRest(t, disk)
				b.start(t)
			}
			in := newInbox()
			consumer := consume(t, topic, channel, in)
			if err := consumer.ConnectToNSQD(b.tcp); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all that was acknowledged arrives", 20*time.Second, func() bool { n, _ := in.size(); return n >= len(acked) })
			expectAll(t, in, acked)
			eventually(t, "health is good again", 20*time.Second, func() bool { status, _ := ask(t, b, "/ping", nil); return status == 200 })
			later := publishMore(t, b)
			eventually(t, "what is published then arrives", 20*time.Second, func() bool { return in.has(later) })
			leave(consumer)
			b.kill(t)
			b.start(t)
			if c := channelOf(b.topic(t, topic), channel); c.Depth+int64(c.InFlightCount) > 200 {
				t.Errorf("after a kill %d messages are there again that were finished", c.Depth)
			}
			b.stop(t)
		})
	}
}

// fillDisk publishes until that is refused, and returns what was acknowledged.
func fillDisk(t *testing.T, b *daemon, reason string) map[string]bool {
	t.Helper()
	producer, err := newProducer(b.tcp)
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
	eventually(t, "the node is unhealthy", 5*time.Second, func() bool {
		status, text := ask(t, b, "/ping", nil)
		return status == 500 && strings.Contains(text, "NOK") && strings.Contains(text, "space")
	})
	status, text := ask(t, b, "/pub?topic="+topic, strings.NewReader(strings.Repeat("y", 8<<10)))
	t.Logf("POST /pub: %d %s", status, text)
	if status != http.StatusServiceUnavailable {
		t.Errorf("POST /pub on a full disk is answered with %d %s, wanted 503", status, text)
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
func publishMore(t *testing.T, b *daemon) string {
	t.Helper()
	producer, err := newProducer(b.tcp)
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

// ask sends a request, a POST if there is a body, and returns the answer.
func ask(t *testing.T, b *daemon, path string, body io.Reader) (status int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+b.http+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var all bytes.Buffer
	if _, err := all.ReadFrom(answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, all.String()
}
