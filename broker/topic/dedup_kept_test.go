package topic

import (
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

// TestAKeyOfAKeptTopicCountsFromItsAccept: stamps of a topic that keeps messages do not fall when a clock is set back. For how long a key counts is by the clock,
// also after a start: where the log says what time it was behind the publish, and where it ends before.
func TestAKeyOfAKeptTopicCountsFromItsAccept(t *testing.T) {
	for name, told := range map[string]bool{"told": true, "not told": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &keptLog{}
				topic := dedupTopic(t, l)
				setTopicOptions(t, topic, `{"retain_time":"24h"}`)
				topic.registry.skew = time.Hour
				publishKeyed(t, topic, "x=1")
				topic.registry.skew = 0
				publishKeyed(t, topic, "a=2")
				if told {
					l.Append(journal.KindTime, journal.AppendTime(nil, time.Now().UnixNano()), nil)
				}
				for wait, want := range []int{1, 0} {
					time.Sleep(time.Duration(wait) * 11 * time.Minute)
					if !told && want == 0 {
						break // by the clock of the start
					}
					again := recovered(t, &keptLog{records: l.records[:l.len():l.len()]}).Lookup("t")
					if d := publishKeyed(t, again, "a=again"); len(d) != want {
						t.Errorf("%d minutes later, after a start: duplicates %v, want %d", 11*wait, d, want)
					}
				}
			})
		})
	}
}
