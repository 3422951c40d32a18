package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestPoison: with nsqjs and pynsq a message that a consumer fails on is a dead letter after the attempts that were set, is delivered
// no more often, and holds no other up; a redrive after the fix empties the dead letter topic. go-nsq is looked at in package broker.
func TestPoison(t *testing.T) {
	t.Parallel()
	for _, library := range []struct {
		name string
		find func(t *testing.T) *exec.Cmd // the consumer, without its arguments
	}{{"nsqjs", findNsqjs}, {"pynsq", findPynsq}} {
		t.Run(library.name, func(t *testing.T) { poison(t, library.find(t)) })
	}
}

// nsqjsVersion is the one that the page on Node.js installs.
const nsqjsVersion = "0.13.0"

// findNsqjs returns a consumer that stands on nsqjs, which it installs for itself.
func findNsqjs(t *testing.T) *exec.Cmd {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT RUN: %s is not on PATH", program)
		}
	}
	dir := t.TempDir()
	install := exec.CommandContext(t.Context(), "npm", "install", "--silent", "--no-fund", "--no-audit", "--no-optional", "nsqjs@"+nsqjsVersion)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: npm cannot install nsqjs here: %v\n%s", err, out)
	}
	return exec.Command("node", copyOf(t, "reader.js", dir))
}

// findPynsq returns a consumer that stands on pynsq.
func findPynsq(t *testing.T) *exec.Cmd {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import nsq; nsq.Reader").Run() == nil {
			return exec.Command(python, copyOf(t, "reader.py", t.TempDir()))
		}
	}
	t.Skip("NOT RUN: no python3 here has pynsq: install it, or name its folder with PYTHONPATH")
	return nil
}

func copyOf(t *testing.T, name, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "poison", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// printed is what a process has printed so far.
type printed struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

// lines returns how often each line was printed.
func (p *printed) lines() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[string]int{}
	for line := range strings.Lines(p.b.String()) {
		n[strings.TrimSuffix(line, "\n")]++
	}
	return n
}

func poison(t *testing.T, consumer *exec.Cmd) {
	const attempts, others = 3, 50
	b := cmdtest.Broker(t, "brokerd", nil, "--durability=disk")
	b.Create(t, "orders", "billing")
	b.Post(t, "/channel/config?topic=orders&channel=billing", map[string]any{"max_attempts": attempts, "backoff": "fixed:10ms", "backoff_requeue": true})
	fixed := filepath.Join(t.TempDir(), "fixed")
	var out, errs printed
	consumer.Args = append(consumer.Args, b.TCP, "orders", "billing", fixed)
	consumer.Stdout, consumer.Stderr = &out, &errs
	if err := consumer.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = consumer.Process.Kill()
		_ = consumer.Wait()
		if t.Failed() {
			t.Logf("the consumer printed %v and said\n%s", out.lines(), errs.b.String())
		}
	}()
	cmdtest.Eventually(t, "the consumer is there", time.Minute, func() bool { return len(b.Channel(t, "orders", "billing").Clients) == 1 })
	b.Publish(t, "orders", "poison")
	for i := range others {
		b.Publish(t, "orders", fmt.Sprint("order", i))
	}
	dead := "orders.billing.dlq"
	cmdtest.Eventually(t, "the poison is a dead letter and the others are finished", time.Minute, func() bool {
		a := b.Channel(t, "orders", "billing").Accounting
		return b.Topic(t, dead).Depth == 1 && a.Finished == others && a.Discarded["dead_lettered"] == 1
	})
	lines := out.lines()
	for i := range others {
		if lines[fmt.Sprintf("order%d 1", i)] != 1 {
			t.Errorf("order%d was not delivered once", i)
		}
	}
	for i := 1; i <= attempts+1; i++ {
		if want := map[bool]int{true: 1}[i <= attempts]; lines[fmt.Sprint("poison ", i)] != want {
			t.Errorf("the poison was delivered %d times as attempt %d, want %d", lines[fmt.Sprint("poison ", i)], i, want)
		}
	}
	var letters httpapi.Messages
	b.Get(t, "/topic/messages?topic="+dead, &letters)
	if len(letters.Messages) != 1 || *letters.Messages[0].Body != "poison" || letters.Messages[0].Properties["dead_letter.failure"] != "requeued" {
		t.Errorf("the dead letters are %+v", letters.Messages)
	}
	if err := os.WriteFile(fixed, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.Act(t, "/channel/redrive", "orders", "billing")
	cmdtest.Eventually(t, "the poison is finished", time.Minute, func() bool {
		c := b.Channel(t, "orders", "billing")
		return b.Topic(t, dead).Depth == 0 && c.Accounting.Finished == others+1 && c.Redrive != nil && !c.Redrive.Running && c.Redrive.Moved == 1
	})
	if got := out.lines()["poison 1"]; got != 2 {
		t.Errorf("the poison came %d times as attempt 1, want once more after it was sent back", got)
	}
}
