package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestPoison: with nsqjs and pynsq a message that a consumer fails on is a dead letter after the attempts that were set, is delivered
// no more often, and holds no other up; a redrive after the fix empties the dead letter topic. go-nsq is looked at in package broker.
func TestPoison(t *testing.T) {
	t.Parallel()
	for _, library := range libraries {
		t.Run(library.name, func(t *testing.T) { poison(t, library.script(t, "poison/reader")) })
	}
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
			t.Logf("the consumer printed %v and said\n%s", out.lines(), errs.String())
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
