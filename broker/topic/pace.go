package topic

import (
	"time"

	"brokerd/broker/backlog"
)

// A publish that finds a channel full waits for the channel's consumers when they are draining it about as fast as a disk
// could take the messages: up to waitPerMessage for each message on average, with up to maxWait saved up. So a burst, or
// producers a little faster than their consumers, does not go through the disk, and a slow or absent consumer delays nobody:
// once the wait fails the channel overflows, and there is no further wait until its queue on disk is empty again.
//
// waitPerMessage is what writing and reading one message costs with go-diskqueue: 5 and 4 microseconds measured, twice that
// with a second channel.
const (
	waitPerMessage = 20 * time.Microsecond
	maxWait        = 50 * time.Millisecond
)

// pace is how long a topic's publishers may still wait. It is guarded by Topic.pub.
type pace struct {
	spent time.Duration // of maxWait
	timer *time.Timer
}

func (p *pace) earn(n int) { p.spent = max(0, p.spent-time.Duration(n)*waitPerMessage) }

// awaitRoomLocked waits until the channel has taken the messages in, and reports whether it has.
func (m *memoryStore) awaitRoomLocked(c *Channel, extent backlog.Extent, b *Batch) bool {
	began := time.Now()
	for {
		left := maxWait - m.pace.spent - time.Since(began)
		room := c.wantRoom(b.n)
		if left <= 0 || room == nil {
			break
		}
		m.pace.wait(room, left)
		if c.offer(extent, b.n, nil) {
			m.pace.spent += time.Since(began)
			return true
		}
	}
	m.pace.spent = min(maxWait, m.pace.spent+time.Since(began))
	return false
}

func (p *pace) wait(room <-chan struct{}, limit time.Duration) {
	if p.timer == nil {
		p.timer = time.NewTimer(limit)
	} else {
		p.timer.Reset(limit)
	}
	select {
	case <-room:
		p.timer.Stop()
	case <-p.timer.C:
	}
}
