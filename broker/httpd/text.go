package httpd

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"time"

	"brokerd/protocol/httpapi"
)

// textStats returns statistics as nsqd's page for people, byte for byte: scripts take it apart. What nsqd does not know
// has no place here, but in the JSON.
func textStats(s *httpapi.Stats, began time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "nsqd v%s (built w/%s)\n", s.Version, runtime.Version())
	fmt.Fprintf(&b, "start_time %s\n", began.Format(time.RFC3339))
	fmt.Fprintf(&b, "uptime %s\n\nHealth: %s\n", time.Since(began), s.Health)
	if d := s.Drain; d != nil {
		fmt.Fprintf(&b, "Drain: %s, %d in flight, %d left %s\n", d.State, d.InFlight, d.Left, d.Text)
	}
	if s.Memory != nil {
		textMemory(&b, s.Memory)
	}
	if len(s.Topics) == 0 {
		b.WriteString("\nTopics: None\n")
	} else {
		b.WriteString("\nTopics:\n")
	}
	for i := range s.Topics {
		if i > 0 {
			b.WriteByte('\n')
		}
		textTopic(&b, &s.Topics[i])
	}
	if len(s.Producers) == 0 {
		b.WriteString("\nProducers: None\n")
	} else {
		b.WriteString("\nProducers:\n")
		textClients(&b, "   ", s.Producers)
	}
	return b.Bytes()
}

func textMemory(b *bytes.Buffer, m *httpapi.Memory) {
	b.WriteString("\nMemory:\n")
	for _, row := range []struct {
		name  string
		value uint64
	}{
		{"heap_objects", m.HeapObjects},
		{"heap_idle_bytes", m.HeapIdleBytes},
		{"heap_in_use_bytes", m.HeapInUseBytes},
		{"heap_released_bytes", m.HeapReleasedBytes},
		{"gc_pause_usec_100", m.GCPauseUsec100},
		{"gc_pause_usec_99", m.GCPauseUsec99},
		{"gc_pause_usec_95", m.GCPauseUsec95},
		{"next_gc_bytes", m.NextGCBytes},
		{"gc_total_runs", uint64(m.GCTotalRuns)},
	} {
		fmt.Fprintf(b, "   %-25s\t%d\n", row.name, row.value)
	}
}

func textTopic(b *bytes.Buffer, t *httpapi.Topic) {
	fmt.Fprintf(b, "%s[%-15s] depth: %-5d be-depth: %-5d msgs: %-8d e2e%%: %s\n",
		pauseMark(t.Paused), t.TopicName, t.Depth, t.BackendDepth, t.MessageCount, textLatency(t.E2EProcessingLatency))
	for i := range t.Channels {
		c := &t.Channels[i]
		fmt.Fprintf(b, "   %s[%-25s] depth: %-5d be-depth: %-5d inflt: %-4d def: %-4d re-q: %-5d timeout: %-5d msgs: %-8d e2e%%: %s\n",
			pauseMark(c.Paused), c.ChannelName, c.Depth, c.BackendDepth, c.InFlightCount, c.DeferredCount, c.RequeueCount,
			c.TimeoutCount, c.MessageCount, textLatency(c.E2EProcessingLatency))
		textClients(b, "        ", c.Clients)
	}
}

func pauseMark(paused bool) string {
	if paused {
		return "*P "
	}
	return "   "
}

// textLatency writes the percentiles in the order in which they are configured.
func textLatency(l httpapi.Latency) string {
	texts := make([]string, len(l.Percentiles))
	for i, p := range l.Percentiles {
		texts[i] = textNanoseconds(p.Value)
	}
	return strings.Join(texts, ", ")
}

// textNanoseconds writes a time in the largest unit, up to seconds, of which there is more than one.
func textNanoseconds(v float64) string {
	switch {
	case v > 1e9:
		return fmt.Sprintf("%.1fs", v/1e9)
	case v > 1e6:
		return fmt.Sprintf("%.1fms", v/1e6)
	case v > 1e3:
		return fmt.Sprintf("%.1fus", v/1e3)
	}
	return fmt.Sprintf("%.1fns", v)
}

// textClients writes a line for each client; one that has published is shown as a producer, in a channel too.
func textClients(b *bytes.Buffer, indent string, clients []httpapi.Client) {
	for i := range clients {
		c := &clients[i]
		fmt.Fprintf(b, "%s[%s %-21s] ", indent, c.Version, textClient(c))
		if len(c.PubCounts) > 0 {
			textPublished(b, c.PubCounts)
		} else {
			fmt.Fprintf(b, "state: %d inflt: %-4d rdy: %-4d fin: %-8d re-q: %-8d msgs: %-8d",
				c.State, c.InFlightCount, c.ReadyCount, c.FinishCount, c.RequeueCount, c.MessageCount)
		}
		fmt.Fprintf(b, " connected: %s\n", time.Since(time.Unix(c.ConnectTime, 0)).Truncate(time.Second))
	}
}

// textClient names a client: the host that it says it is on, the port that it comes from, its program. A peer on a unix
// socket has no port.
func textClient(c *httpapi.Client) string {
	_, port, err := net.SplitHostPort(c.RemoteAddress)
	if err != nil {
		port = ""
	}
	return httpapi.Printable(c.Hostname, "") + ":" + port + " " + httpapi.Printable(c.UserAgent, "")
}

func textPublished(b *bytes.Buffer, counts []httpapi.PubCount) {
	total := uint64(0)
	texts := make([]string, len(counts))
	for i, p := range counts {
		total += p.Count
		texts[i] = fmt.Sprintf("%s=%d", p.Topic, p.Count)
	}
	fmt.Fprintf(b, "msgs: %-8d topics: %s", total, strings.Join(texts, ","))
}
