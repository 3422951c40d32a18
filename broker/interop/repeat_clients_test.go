package interop

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// startWriter starts a script that publishes "NAME 0" and so on with words, and calls told with what it prints of each: try, sent or failed.
func startWriter(t *testing.T, cmd *exec.Cmd, address, topic, name, words string, told func(what, body string)) (end func()) {
	t.Helper()
	cmd.Args = append(cmd.Args, address, topic, name, words)
	return startScript(t, cmd, func(line string) {
		what, body, _ := strings.Cut(line, " ")
		told(what, body)
	})
}

// TestOtherProducersKilledBrokerStoresRepeatsOnce: nsqjs and pynsq, too, have words behind the topic, and repeat each publish that was not answered
// OK, while the broker is killed again and again. Each message is in the topic once, with its key; those whose time to live is over are gone.
func TestOtherProducersKilledBrokerStoresRepeatsOnce(t *testing.T) {
	t.Parallel()
	for _, library := range libraries {
		t.Run(library.name, func(t *testing.T) {
			long, brief := library.script(t, "repeat/writer"), library.script(t, "repeat/writer")
			b := newBroker(t, "brokerd", "brokerd-disk", t.TempDir(), "--mem-queue-size=200")
			flags := b.Args
			options := "--topic-options=" + topic + " ordered=true dedup_window=1h"
			reborn(b, flags, "disk")
			b.Args = append(b.Args, options)
			b.Start(t)
			b.Create(t, topic, channel)
			var sent, over atomic.Int64
			count := func(n *atomic.Int64) func(what, body string) {
				return func(what, _ string) {
					if what == "sent" {
						n.Add(1)
					}
				}
			}
			ends := []func(){startWriter(t, long, b.TCP, topic, "long", "dedup=long-# key=%6bept ttl=1h", count(&sent)),
				startWriter(t, brief, b.TCP, topic, "brief", "ttl=300ms dedup=brief-#", count(&over))}
			both := func() int64 { return min(sent.Load(), over.Load()) }
			for round := range max(2, rounds(t)/2) {
				before := both()
				cmdtest.Eventually(t, "publishes are answered", time.Minute, func() bool { return both() > before+20 })
				<-time.After(time.Duration(30+rand.IntN(300)) * time.Millisecond) // a random moment is what is tested
				b.Kill(t)
				t.Logf("life %d: %s, %d messages so far", round+2, reborn(b, flags, "disk"), sent.Load()+over.Load())
				b.Args = append(b.Args, options)
				b.Start(t)
			}
			last := both()
			cmdtest.Eventually(t, "publishes are answered", time.Minute, func() bool { return both() > last+20 })
			for _, end := range ends {
				end()
			}
			told, stored := int(sent.Load()), map[string]int{}
			key := fmt.Sprintf("%08x", crc32.Checksum([]byte("kept"), crc32.MakeTable(crc32.Castagnoli)))
			eachStored(t, b, func(m *httpapi.Message) {
				stored[*m.Body]++
				if long := strings.HasPrefix(*m.Body, "long "); long != (m.Key == key) {
					t.Errorf("%q has the key %q", *m.Body, m.Key)
				}
			})
			for body, k := range stored {
				if k != 1 {
					t.Errorf("%q is there %d times", body, k)
				}
			}
			for n := range told {
				if stored[fmt.Sprint("long ", n)] != 1 {
					t.Errorf("message %d was answered OK and is not there", n)
				}
			}
			cmdtest.Eventually(t, "only those are left whose time is not over", 10*time.Second, func() bool {
				left := int(b.Channel(t, topic, channel).Depth)
				return left >= told && left <= told+3 // the last publish may be stored and was not answered
			})
			t.Logf("%d messages, %d whose time was over, the last life has passed over %d", told, over.Load(), b.Topic(t, topic).Duplicates)
		})
	}
}
