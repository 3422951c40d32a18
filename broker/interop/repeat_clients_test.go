package interop

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// repeater is a stock producer in a process of its own. It prints a line for each publish that was answered OK.
type repeater struct {
	name string
	sent atomic.Int64
}

func startRepeater(t *testing.T, cmd *exec.Cmd, address, name string) *repeater {
	t.Helper()
	cmd.Args = append(cmd.Args, address, topic, name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs printed
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &repeater{name: name}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "sent ") {
				r.sent.Add(1)
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said\n%.2000s", name, errs.b.String())
		}
	})
	return r
}

// TestOtherProducersRepeatsAreStoredOnce: nsqjs and pynsq, too, send a deduplication key as a word behind the topic, and repeat each publish that
// was not answered OK, while the broker is killed again and again: each message is in the topic once.
func TestOtherProducersRepeatsAreStoredOnce(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]func(t *testing.T) *exec.Cmd{
		"nsqjs": func(t *testing.T) *exec.Cmd { return findScript(t, findNsqjs, "repeat", "writer.js") },
		"pynsq": func(t *testing.T) *exec.Cmd { return findScript(t, findPynsq, "repeat", "writer.py") },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := find(t)
			b := newBroker(t, "brokerd", "brokerd-disk", t.TempDir(), "--mem-queue-size=200")
			flags := b.Args
			options := "--topic-options=" + topic + " dedup_window=1h"
			reborn(b, flags, "disk")
			b.Args = append(b.Args, options)
			b.Start(t)
			b.Create(t, topic, channel)
			r := startRepeater(t, cmd, b.TCP, name)
			for round := range max(2, rounds(t)/2) {
				before := r.sent.Load()
				cmdtest.Eventually(t, "publishes are answered", time.Minute, func() bool { return r.sent.Load() > before+20 })
				<-time.After(time.Duration(30+rand.IntN(300)) * time.Millisecond) // a random moment is what is tested
				b.Kill(t)
				t.Logf("life %d: %s, %d messages so far", round+2, reborn(b, flags, "disk"), r.sent.Load())
				b.Args = append(b.Args, options)
				b.Start(t)
			}
			last := r.sent.Load()
			cmdtest.Eventually(t, "publishes are answered", time.Minute, func() bool { return r.sent.Load() > last+20 })
			told := int(r.sent.Load())
			stored := storedBodies(t, b)
			for n := range told {
				if k := stored[fmt.Sprintf("%s-%d", name, n)]; k != 1 {
					t.Errorf("message %d is there %d times", n, k)
				}
			}
			for body, k := range stored {
				if k != 1 {
					t.Errorf("%s is there %d times", body, k)
				}
			}
			t.Logf("%d messages, the last life has passed over %d", told, b.Topic(t, topic).Duplicates)
		})
	}
}
