package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/diskqueue/nsqdata"
)

// TestKeptMessagesOfAStoppedBroker: check counts what is only kept apart from what channels need, and damage in it too; an export has it with --kept only, in
// a channel of its own.
func TestKeptMessagesOfAStoppedBroker(t *testing.T) {
	for name, channel := range map[string]string{"a channel is added": "c", "one of that name is there": broker.KeptChannel} {
		t.Run(name, func(t *testing.T) { testKeptMessages(t, channel) })
	}
}

func testKeptMessages(t *testing.T, channel string) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	n.post("/topic/create?topic=t", "")
	n.post("/topic/config?topic=t", `{"retain_time":"24h"}`)
	n.post("/channel/create?topic=t&channel="+channel, "")
	var want []string
	done := map[string]uint16{}
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			body := fmt.Sprintf("%04d%s", i, strings.Repeat("x", 200))
			want = append(want, body)
			n.publish("t", body)
		}
	}
	publish(0, 300)
	for _, body := range want {
		done[body] = 1
	}
	n.post("/channel/create?topic=t&channel=late", "")
	publish(300, 320) // for both
	for _, body := range want[300:] {
		done[body] = 1
	}
	consume(t, n, "t", channel, done)
	eventually(t, "all is finished", func() bool { s := n.channel("t", channel); return s.Depth+int64(s.InFlightCount) == 0 })
	n.post("/topic/config?topic=t", `{"max_depth":30}`) // less than an export has in one channel
	n.stop()

	check := func() (string, error) {
		var out bytes.Buffer
		err := broker.Check(o.DataPath, &out, nil)
		return out.String(), err
	}
	if text, err := check(); err != nil || !strings.Contains(text, "kept: 300 messages that all channels are done with, from position 1 on") ||
		!strings.Contains(text, "channel late: 20 waiting") {
		t.Errorf("%v, checked:\n%s", err, text)
	}
	for _, kept := range []bool{false, true} {
		out := filepath.Join(t.TempDir(), "out")
		var report bytes.Buffer
		if err := broker.Export(o.DataPath, out, kept, &report, nil); err != nil {
			t.Fatal(err)
		}
		read := func(queue string) (bodies []string) {
			if _, err := nsqdata.Scan(out, queue, func(r nsqdata.Record) error {
				bodies = append(bodies, string(r.Body))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return bodies
		}
		all := want
		if !kept {
			all = nil
		}
		if got := read("t:kept"); !slices.Equal(got, all) {
			t.Errorf("kept %v: %d messages are in the channel for what is kept", kept, len(got))
		}
		if got := read("t:late"); !slices.Equal(got, want[300:]) {
			t.Errorf("kept %v: %d messages are in the channel that has 20", kept, len(got))
		}
		channels := 2
		if kept && channel != broker.KeptChannel {
			channels = 3
		}
		meta, _, err := nsqdata.LoadMetadata(out)
		if got := len(meta.Topics[0].Channels); err != nil || got != channels {
			t.Errorf("kept %v: %d channels, %v", kept, got, err)
		}
	}

	path := largest(t, filepath.Join(o.DataPath, "segments/*/*.seg"))
	data, err := os.ReadFile(path)
	if err == nil {
		data[5000] ^= 0x40
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err := check(); !errors.Is(err, broker.ErrDamaged) || !strings.Contains(text, "that all channels are done with: a start keeps the rest") {
		t.Errorf("%v, checked with damage:\n%s", err, text)
	}
}
