package tail

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol"
)

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "apps/brokerctl") }

func numbered(n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprint("message ", i)
	}
	return bodies
}

// TestTailTakesExactlySoMany: of a durable channel --n messages are printed and finished, the last one too, and the rest is
// there for others.
func TestTailTakesExactlySoMany(t *testing.T) {
	for _, make := range []string{"brokerd", "nsqd"} {
		t.Run(make, func(t *testing.T) {
			t.Parallel()
			broker := cmdtest.Broker(t, make, nil)
			broker.Create(t, "orders", "c")
			apptest.Publish(t, broker, "orders", numbered(500)...)
			p := cmdtest.Verb(t, "tail", "--topic=orders", "--channel=c", "--n=123", "--nsqd-tcp-address="+broker.TCP)
			if code := p.Wait(t, 20*time.Second); code != 0 {
				t.Fatalf("exit code %d\n%s", code, p.LastWords())
			}
			if got := strings.Count(p.Output(t), "\n"); got != 123 {
				t.Errorf("%d lines were printed", got)
			}
			cmdtest.Eventually(t, "377 are left", 10*time.Second, func() bool {
				c := broker.Channel(t, "orders", "c")
				return c.Depth+int64(c.DeferredCount) == 377 && c.InFlightCount == 0
			})
			inbox := apptest.Consume(t, "orders", "c", broker)
			cmdtest.Eventually(t, "the others get the rest", 10*time.Second, func() bool { return len(inbox.Bodies()) == 377 })
			for line := range strings.Lines(p.Output(t)) {
				if inbox.Bodies()[strings.TrimSuffix(line, "\n")] > 0 {
					t.Errorf("printed, and given to another as well: %s", line)
				}
			}
		})
	}
}

// TestTailCountsAllTopicsTogether covers --print-topic, the ephemeral channel of its own, which is gone afterwards, and that --n is
// not counted by topic.
func TestTailCountsAllTopicsTogether(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.Lookup(t, "lookupd")
	broker := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	broker.Create(t, "a")
	broker.Create(t, "b")
	p := cmdtest.Verb(t, "tail", "--topic=a", "--topic=b", "--print-topic", "--n=4", "--lookupd-http-address="+lookup.HTTP,
		"--consumer-opt=lookupd_poll_interval,200ms")
	for _, topic := range []string{"a", "b"} {
		cmdtest.Eventually(t, "it subscribes", 20*time.Second, func() bool {
			for _, c := range broker.Topic(t, topic).Channels {
				if c.ClientCount == 1 && strings.HasPrefix(c.ChannelName, "tail") && strings.HasSuffix(c.ChannelName, "#ephemeral") {
					return true
				}
			}
			return false
		})
	}
	apptest.Publish(t, broker, "a", "1", "2", "3")
	cmdtest.Eventually(t, "three are printed", 10*time.Second, func() bool { return strings.Count(p.Output(t), "a | ") == 3 })
	if p.Ended() {
		t.Fatal("it ended after 3 of 4")
	}
	apptest.Publish(t, broker, "b", "4", "5")
	if code := p.Wait(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.LastWords())
	}
	if out := p.Output(t); !strings.Contains(out, "b | ") || strings.Count(out, "\n") != 4 {
		t.Errorf("printed %q", out)
	}
	cmdtest.Eventually(t, "its channels are gone", 10*time.Second, func() bool {
		return len(broker.Topic(t, "a").Channels)+len(broker.Topic(t, "b").Channels) == 0
	})
}

// TestTailSurvivesABlockedOutput: while nobody reads its output it keeps what it has, so that no time of it is up, answers heartbeats, and prints all
// later.
func TestTailSurvivesABlockedOutput(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	long := strings.Repeat("x", 1000)
	bodies := make([]string, 300) // more than a pipe holds
	for i := range bodies {
		bodies[i] = fmt.Sprint(i, " ", long)
	}
	broker := startFake(t, bodies)
	p := cmdtest.New(t, "brokerctl", "tail", "--topic=orders", "--channel=c", "--n=300", "--nsqd-tcp-address="+broker.address,
		"--consumer-opt=msg_timeout,1s")
	p.Stdout = fmt.Sprintf("/proc/self/fd/%d", write.Fd())
	p.Start(t)
	write.Close()
	cmdtest.Eventually(t, "it touches what it has, again and again", 0, func() bool { return broker.held(3) })
	broker.mu.Lock()
	before := broker.nops
	broker.say(protocol.FrameResponse, protocol.Heartbeat)
	broker.mu.Unlock()
	cmdtest.Eventually(t, "it answers a heartbeat, while it is blocked", 0, func() bool {
		broker.mu.Lock()
		defer broker.mu.Unlock()
		return broker.nops > before && broker.finished < len(bodies)
	})
	text := make(chan string)
	go func() {
		var b strings.Builder
		buffer := make([]byte, 64<<10)
		for {
			n, err := read.Read(buffer)
			b.Write(buffer[:n])
			if err != nil {
				text <- b.String()
				return
			}
		}
	}()
	if code := p.Wait(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.LastWords())
	}
	if lines := strings.Count(<-text, "\n"); lines != 300 {
		t.Errorf("%d lines were printed", lines)
	}
	cmdtest.Eventually(t, "all is finished", 0, func() bool {
		broker.mu.Lock()
		defer broker.mu.Unlock()
		return broker.finished == len(bodies)
	})
}

func TestTailSaysWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--nsqd-tcp-address=a:1"}, "--topic or an argument required"},
		{[]string{"--topic=t"}, "--nsqd-tcp-address or --lookupd-http-address required"},
		{[]string{"--topic=t$", "--nsqd-tcp-address=a:1"}, "--topic is invalid"},
		{[]string{"--topic=t", "--n=-1", "--nsqd-tcp-address=a:1"}, "--n must be"},
		{[]string{"--topic=t", "--nsqd-tcp-address=a:1", "--delimiter=\\q"}, "--delimiter"},
	} {
		p := cmdtest.Verb(t, "tail", test.args...)
		if code := p.Wait(t, 10*time.Second); code != 2 || !strings.Contains(p.LastWords(), test.want) {
			t.Errorf("%q: exit code %d, %s; want %s", test.args, code, p.LastWords(), test.want)
		}
	}
}
