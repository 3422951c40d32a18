package democluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settleWithin is how long what is open is waited for once somebody has ended the demo.
const settleWithin = 20 * time.Second

// watch shows what somebody does to the brokers, until ctx ends.
func (d *director) watch(ctx context.Context) error {
	var ended [brokers]time.Time // since when one does not run
	leader, waits := -1, false
	for ctx.Err() == nil {
		st := d.look(ctx)
		for i, b := range d.machines.brokers {
			switch {
			case b.Running():
			case !d.down[i]:
				_, how := b.End()
				d.down[i], ended[i], waits = true, time.Now(), true
				d.load.ledger.begin(ended[i])
				d.screen.event("%s is gone: %v", b.label, how)
			case time.Since(ended[i]) >= d.restartAfter:
				if err := d.startAgain(ctx, i); err != nil {
					return err
				}
				d.screen.event("%s was started again, as pid %d", b.label, b.PID())
			}
		}
		if st.leader >= 0 && st.leader != leader {
			leader = st.leader
			d.screen.event("%s leads the topic", d.machines.brokers[leader].label)
		}
		if publishing, delivering := d.load.ledger.back(); waits && publishing > 0 && delivering > 0 {
			waits = false
			d.screen.event("  publishes are acknowledged again after %s, new messages delivered after %s", seconds(publishing), seconds(delivering))
		}
		d.hint(st)
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
	return d.endWatch()
}

// hint says what to do next.
func (d *director) hint(st standing) {
	if st.leader < 0 {
		d.hints = []string{"", "Nobody leads the topic now: it waits for two of the three brokers."}
		return
	}
	pid := d.machines.brokers[st.leader].PID()
	d.hints = []string{"",
		fmt.Sprintf("In another terminal:  kill -9 %d      (it leads; it is started again after %v)", pid, d.restartAfter),
		fmt.Sprintf("or, to pause it:      kill -STOP %d   and later kill -CONT %d", pid, pid),
		"Ctrl-C stops all of it and counts."}
}

// endWatch is the end: what is open may still come.
func (d *director) endWatch() error {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	d.hints = nil
	for _, b := range d.machines.brokers {
		_ = b.Resume() // somebody may have paused it; an error means that it is gone
	}
	var settled error
	for i := range d.down {
		if d.down[i] {
			settled = errors.Join(settled, d.startAgain(ctx, i))
		}
	}
	settled = errors.Join(settled, d.settle(ctx))
	d.load.close()
	d.screen.event("%s", d.load.ledger.now().line(time.Since(d.began)))
	if settled != nil {
		d.screen.event("Not all could be waited for: %v", settled)
	}
	return d.verdict()
}
