package storage

import (
	"time"

	"brokerd/diskqueue/journal"
)

// timeEvery is how often the log says what time it is, while something else is written to it.
const timeEvery = time.Second

// tellTime has the log say what time it is when something was appended since it did so last: who asks later what happened to a message is told
// when, to the second. A log that nothing is written to says nothing.
func (k *Engine) tellTime(now time.Time) {
	records := k.wal.Stats().Records
	if records == k.told || now.Sub(k.toldAt) < timeEvery || k.registry.Failed() != nil {
		return
	}
	if _, err := k.wal.Append(byte(journal.KindTime), journal.AppendTime(nil, now.UnixNano())); err == nil {
		k.told, k.toldAt = k.wal.Stats().Records, now
	}
}
