package interop

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// TestFullDiskRefusesPublishesAndRecovers fills the disk of a broker whose consumer is not there. Publishes must be refused with
// a reason, and health say so; a consumer must get all that was acknowledged; draining must make publishes possible again.
func TestFullDiskRefusesPublishesAndRecovers(t *testing.T) {
	for _, c := range []struct {
		name, free, reason string
		killed             bool
	}{
		{"watermark", "24MiB", "min-free-space", false},
		{"to the last byte", "0", "no space left", false},
		{"started anew on the full disk", "0", "no space left", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disk := cmdtest.SmallDisk(t, 96<<10)
			runOutOfSpace(t, shortage{dir: disk, free: c.free, reason: c.reason, health: "space", killed: c.killed})
		})
	}
}

// TestReachedQuotaRefusesPublishesAndRecovers is the same where not the disk is full, but what the folder may have of it.
func TestReachedQuotaRefusesPublishesAndRecovers(t *testing.T) {
	if os.Getenv("BROKERD_CRASH_ROUNDS") == "" {
		t.Skip("NOT RUN: btrfs may take half a minute until what was removed counts no more; make crash runs this")
	}
	for name, killed := range map[string]bool{"drained": false, "started anew at the quota": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runOutOfSpace(t, shortage{dir: newQuota(t, 96), free: "0", reason: "quota exceeded", health: "quota", killed: killed})
		})
	}
}

// newQuota returns a folder that may have so many MiB of a larger file system. The test is skipped where that is not possible.
func newQuota(t *testing.T, mib int) string {
	t.Helper()
	v := newVolume(t, "btrfs", 512)
	dir := filepath.Join(v.dir, "quota")
	for _, args := range [][]string{
		{"quota", "enable", v.dir}, {"subvolume", "create", dir}, {"qgroup", "limit", fmt.Sprintf("%dM", mib), dir},
	} {
		if out, err := exec.Command("btrfs", args...).CombinedOutput(); err != nil {
			t.Skipf("NOT RUN: btrfs %s: %v %s", strings.Join(args, " "), err, out)
		}
	}
	return dir
}

// shortage is a folder with little space and how a broker is to speak of it.
type shortage struct {
	dir            string
	free           string // --min-free-space
	reason, health string // why publishes are refused, what /ping says
	killed         bool   // the broker is killed and started anew when nothing can be written any more
}

// patience is how long the file system may take until what was removed is free: 20 s for a full one, and 60 s at a quota of btrfs, which
// was seen to count what is gone for 30 s, whatever its commit interval is.
func (s *shortage) patience() time.Duration {
	if s.health == "quota" {
		return time.Minute
	}
	return 20 * time.Second
}

// runOutOfSpace has a broker run out of space, and drains it.
func runOutOfSpace(t *testing.T, s shortage) {
	t.Helper()
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(s.dir, "data"), "--min-free-space="+s.free, "--mem-queue-size=100")
	b.Serves = "/info" // started without room it serves, and /ping rightly says that it is unwell
	b.Start(t)
	b.Create(t, topic, channel)
	acked := fillDisk(t, b, s)
	if s.killed {
		b.Kill(t)
		fillRest(t, s.dir)
		b.Start(t)
	}
	in := newInbox()
	consumer := consume(t, topic, channel, in)
	if err := consumer.ConnectToNSQD(b.TCP); err != nil {
		t.Fatal(err)
	}
	cmdtest.Eventually(t, "all that was acknowledged arrives", s.patience(), func() bool { n, _ := in.size(); return n >= len(acked) })
	expectAll(t, in, acked)
	cmdtest.Eventually(t, "health is good again", s.patience(), func() bool { return ask(t, b, "GET", "/ping", "").status == 200 })
	later := publishMore(t, b)
	cmdtest.Eventually(t, "what is published then arrives", s.patience(), func() bool { return in.has(later) })
	leave(consumer)
	b.Kill(t)
	b.Start(t)
	if c := b.Channel(t, topic, channel); c.Depth+int64(c.InFlightCount) > 200 {
		t.Errorf("after a kill %d messages are there again that were finished", c.Depth)
	}
	b.Stop(t)
}

// fillDisk publishes until that is refused, and returns what was acknowledged.
func fillDisk(t *testing.T, b *cmdtest.Process, s shortage) map[string]bool {
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
	says := errors.As(err, &refusal) && (strings.Contains(refusal.Reason, s.reason) || strings.Contains(refusal.Reason, "no space left")) // if the look was late
	if !says || !strings.HasPrefix(refusal.Reason, "E_PUB_FAILED") {
		t.Fatalf("after %d messages a producer is told %v; wanted E_PUB_FAILED with %q", len(acked), err, s.reason)
	}
	t.Logf("%d messages fit; then: %v", len(acked), err)
	fillUp(t, b, s, acked)
	return acked
}

// fillUp publishes on, as the broker finds room again where it lets its reserve go, or for what is small. It returns once POST is refused
// with 503 and health says why just then.
func fillUp(t *testing.T, b *cmdtest.Process, s shortage, acked map[string]bool) {
	t.Helper()
	cmdtest.Eventually(t, "publishes are refused while the node is unhealthy", 5*time.Second, func() bool {
		for {
			body := fmt.Sprintf("more %d %s", len(acked), strings.Repeat("y", 8<<10))
			got := ask(t, b, "POST", "/pub?topic="+topic, body)
			if got.status == http.StatusServiceUnavailable {
				break
			}
			if got.status != http.StatusOK {
				t.Fatalf("POST /pub on a full disk is answered with %d %s, wanted 503", got.status, got.body)
			}
			acked[body] = true
		}
		got := ask(t, b, "GET", "/ping", "")
		says := strings.Contains(got.body, s.health) || strings.Contains(got.body, "the disk is full")
		return got.status == 500 && strings.Contains(got.body, "NOK") && says
	})
}

// fillRest takes what is left of a disk, to the last byte.
func fillRest(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "rest"))
	if errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.ENOSPC) {
		return // not even a name is left
	}
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

// TestAFullDiskIsMadeFreeByAnyAct: while publishes are refused, emptying a channel and deleting a topic work, and publishing goes on by
// itself when that has made room, as it does when a consumer finishes what is there. The report's store stayed over its quota, and one full node
// blocked all.
func TestAFullDiskIsMadeFreeByAnyAct(t *testing.T) {
	s := shortage{dir: cmdtest.SmallDisk(t, 96<<10), free: "24MiB", reason: "min-free-space", health: "space"}
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(s.dir, "data"), "--min-free-space="+s.free, "--mem-queue-size=100")
	b.Start(t)
	for _, act := range []struct{ verb, channel string }{{"/channel/empty", channel}, {"/channel/delete", channel}, {"/topic/delete", ""}} {
		b.Create(t, topic, channel)
		fillDisk(t, b, s)
		b.Act(t, act.verb, topic, act.channel)
		if act.channel != "" {
			b.Act(t, "/topic/empty", topic, "") // what the topic keeps that has no channel
		}
		cmdtest.Eventually(t, "health is good again after "+act.verb, 20*time.Second, func() bool { return ask(t, b, "GET", "/ping", "").status == 200 })
		if a := ask(t, b, "POST", "/pub?topic="+topic, "x"); a.status != 200 {
			t.Errorf("after %s a publish is answered %d %s", act.verb, a.status, a.body)
		}
	}
	b.Stop(t)
}

// TestKeptMessagesGoFirstOnASmallDisk: on a disk of 96 MiB more than twice as much is published and consumed, and all of it is to be kept. No publish is
// refused: what is only kept goes.
func TestKeptMessagesGoFirstOnASmallDisk(t *testing.T) {
	t.Parallel()
	disk := cmdtest.SmallDisk(t, 96<<10)
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(disk, "data"), "--topic-options="+topic+" retain_bytes=10GiB")
	b.Start(t)
	b.Create(t, topic, channel)
	var came atomic.Int64
	var last atomic.Bool
	consumer := consume(t, topic, channel, nsq.HandlerFunc(func(m *nsq.Message) error {
		came.Add(1)
		if strings.HasPrefix(string(m.Body[:10]), "last ") {
			last.Store(true)
		}
		return nil
	}))
	if err := consumer.ConnectToNSQD(b.TCP); err != nil {
		t.Fatal(err)
	}
	const batches, each, size = 480, 60, 8 << 10 // 236 MB
	body := strings.Repeat(strings.Repeat("x", size)+"\n", each)
	for i := range batches {
		if i == batches-1 {
			body += "last message"
		}
		if a := ask(t, b, "POST", "/mpub?topic="+topic, body); a.status != http.StatusOK {
			t.Fatalf("batch %d is refused with %d %s", i, a.status, a.body)
		}
		cmdtest.Eventually(t, "the consumer keeps up, and what is kept goes", time.Minute, func() bool {
			return came.Load() >= int64(i-3)*each && freeOn(t, disk) > 8<<20
		})
	}
	cmdtest.Eventually(t, "the last message comes", time.Minute, func() bool { return last.Load() && came.Load() >= batches*each+1 })
	k := b.Topic(t, topic).Kept
	if k == nil || k.DroppedEarly == 0 {
		t.Errorf("it keeps %+v", k)
	}
	if a := ask(t, b, "GET", "/ping", ""); a.status != http.StatusOK {
		t.Errorf("/ping says %d %s", a.status, a.body)
	}
	leave(consumer)
	b.Stop(t)
}

// freeOn returns how many bytes are free on the file system of a folder.
func freeOn(t *testing.T, dir string) uint64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return s.Bavail * uint64(s.Bsize)
}
