package democluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"brokerd/apps/appkit"
)

const lookEvery = 100 * time.Millisecond

// How long is waited, on a machine that has other things to do as well. Tests wait longer.
var (
	patience = time.Minute      // that something must happen within
	stalled  = 20 * time.Second // since the last message was finished
)

// director looks on, shows and acts.
type director struct {
	settings
	machines *machines
	screen   *screen
	load     *load // nil before there is any
	began    time.Time
	down     [brokers]bool // it does not run because it was killed here, or by hand
	hints    []string      // what is shown below the brokers
	results  []result
}

// What is done to leaders.
const (
	actKill  = "kill -9"
	actPause = "kill -STOP"
	actWipe  = "kill -9 and rm -r of the folder"
)

// result is one act.
type result struct {
	act, broker            string
	next                   string // who leads after it
	publishing, delivering time.Duration
	again                  int // duplicates that came with it
}

// run has the cluster founded and under load, and does to it what is asked for.
func (d *director) run(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if d.byHand {
		return d.watch(ctx)
	}
	return d.script(ctx)
}

// prepare founds the cluster, makes the topic, and begins the load.
func (d *director) prepare(ctx context.Context) error {
	m := d.machines
	if _, err := d.until(ctx, "the three brokers are one cluster", standing.founded); err != nil {
		return err
	}
	if err := d.again(ctx, func() error {
		return m.post(ctx, m.brokers[0], "/topic/create", url.Values{"topic": {topic}, "replicas": {"3"}})
	}); err != nil {
		return err
	}
	st, err := d.until(ctx, "a broker leads topic "+topic, standing.whole)
	if err != nil {
		return err
	}
	if err := d.again(ctx, func() error {
		if now := m.look(ctx); now.leader >= 0 {
			st = now
		}
		return m.post(ctx, m.brokers[st.leader], "/channel/create", url.Values{"topic": {topic}, "channel": {channel}})
	}); err != nil {
		return err
	}
	// A consumer that asked a moment earlier would know one broker, and hear of the others only when it asks again.
	if _, err := d.until(ctx, "the lookups list all three brokers", func(standing) bool { return m.listed(ctx) }); err != nil {
		return err
	}
	for _, b := range m.brokers {
		d.screen.event("%s   tcp %s   http://%s   data %s", b.label, b.TCP, b.HTTP, b.Data)
	}
	d.screen.event("lookups    http://%s   http://%s\nadmin      http://%s", m.lookups[0].http, m.lookups[1].http, m.admin.http)
	d.screen.event("Topic %s has three replicas (a preview). %d producers publish %d messages a second each, %d consumers finish them.\n", topic, d.producers, d.rate, d.consumers)
	if d.load, err = startLoad(m.lookupsHTTP(), m.tcp(), d.producers, d.consumers, d.rate, m.clientLog()); err != nil {
		return err
	}
	d.began = time.Now()
	return d.more(ctx, 500)
}

// again does something until it succeeds.
func (d *director) again(ctx context.Context, do func() error) error {
	var failed error
	_, err := d.until(ctx, "a request is carried out", func(standing) bool {
		failed = do()
		return failed == nil
	})
	if err != nil && failed != nil {
		return fmt.Errorf("%w: %w", err, failed)
	}
	return err
}

// until looks again and again until something holds.
func (d *director) until(ctx context.Context, what string, holds func(standing) bool) (standing, error) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for began := time.Now(); ; {
		st := d.look(ctx)
		if err := errors.Join(ctx.Err(), d.died()); err != nil {
			return st, err
		}
		if holds(st) {
			return st, nil
		}
		if time.Since(began) > patience {
			return st, fmt.Errorf("after %v still not: %s", patience, what)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

// look looks at everything, and shows it.
func (d *director) look(ctx context.Context) standing {
	st := d.machines.look(ctx)
	if ctx.Err() == nil {
		d.show(st)
	}
	return st
}

// died tells of a broker that has ended although nobody has ended it.
func (d *director) died() error {
	for i, b := range d.machines.brokers {
		if !b.Running() && !d.down[i] {
			_, err := b.End()
			return fmt.Errorf("%s has ended by itself: %v\n%s", b.label, err, b.LastWords())
		}
	}
	return nil
}

// show shows how things stand.
func (d *director) show(st standing) {
	if d.load == nil {
		return
	}
	now := time.Now()
	d.load.ledger.look(now)
	lines := []string{d.load.ledger.now().line(now.Sub(d.began))}
	for i, b := range d.machines.brokers {
		s := st.brokers[i]
		does := "follows"
		switch {
		case !s.running:
			does = "is gone"
		case !s.answers:
			does = "does not answer"
		case s.state != "member":
			does = "is no member: " + s.state
		case st.leader == i:
			does = "leads"
		}
		pid := ""
		if s.running {
			pid = fmt.Sprintf("pid %d", b.PID())
		}
		lines = append(lines, fmt.Sprintf("%s   %-12s %s", b.label, pid, does))
	}
	d.screen.frame(append(lines, d.hints...), now)
}

// more waits until so many more messages were acknowledged.
func (d *director) more(ctx context.Context, n int) error {
	want := d.load.ledger.now().acked + n
	_, err := d.until(ctx, fmt.Sprintf("%d more messages are acknowledged", n), func(standing) bool { return d.load.ledger.now().acked >= want })
	return err
}

// script kills, pauses and wipes, and returns nil only if nothing that was acknowledged is missing then.
func (d *director) script(ctx context.Context) error {
	killed := map[int]bool{}
	for n := 0; n < d.kills || d.kills == 0 && n < mostKills && len(killed) < brokers; n++ {
		i, err := d.killLeader(ctx)
		if err != nil {
			return err
		}
		killed[i] = true
	}
	d.screen.event("%d of the three brokers have led the topic and were killed.", len(killed))
	for range d.pauses {
		if err := d.pauseLeader(ctx); err != nil {
			return err
		}
	}
	if err := d.wipeLeader(ctx); err != nil {
		return err
	}
	return d.finish(ctx)
}

// leader waits until one leads, and messages come.
func (d *director) leader(ctx context.Context) (int, error) {
	if err := d.more(ctx, 200); err != nil {
		return 0, err
	}
	st, err := d.until(ctx, "a broker leads", func(st standing) bool { return st.leader >= 0 })
	return st.leader, err
}

// act does something to the broker that leads, and waits until another one does and messages come.
func (d *director) act(ctx context.Context, what string, do func(*broker) error) (int, error) {
	i, err := d.leader(ctx)
	if err != nil {
		return i, err
	}
	b, ledger := d.machines.brokers[i], d.load.ledger
	before := ledger.now().again
	d.screen.event("%s of %s, pid %d, which leads the topic", what, b.label, b.PID())
	began := time.Now()
	if err := do(b); err != nil {
		return i, err
	}
	ledger.begin(began)
	st, err := d.until(ctx, "another broker leads, and messages are acknowledged and finished", func(st standing) bool {
		publishing, delivering := ledger.back()
		return st.leader >= 0 && st.leader != i && publishing > 0 && delivering > 0
	})
	if err != nil {
		return i, err
	}
	r := result{act: what, broker: b.label, next: d.machines.brokers[st.leader].label, again: ledger.now().again - before}
	r.publishing, r.delivering = ledger.back()
	d.results = append(d.results, r)
	d.screen.event("  %s leads. Publishes are acknowledged again after %s, new messages delivered after %s", r.next, seconds(r.publishing), seconds(r.delivering))
	return i, nil
}

// kill ends a broker as kill -9 does.
func (d *director) kill(i int) {
	d.down[i] = true
	d.machines.brokers[i].Kill()
}

// startAgain starts a broker that was killed.
func (d *director) startAgain(ctx context.Context, i int) error {
	if err := d.machines.brokers[i].Start(ctx, startWithin); err != nil {
		return err
	}
	d.down[i] = false
	return nil
}

// whole waits until all three are members again.
func (d *director) whole(ctx context.Context) error {
	_, err := d.until(ctx, "all three brokers are members, and linked", standing.whole)
	return err
}

func (d *director) killLeader(ctx context.Context) (int, error) {
	i, err := d.act(ctx, actKill, func(b *broker) error { d.kill(d.of(b)); return nil })
	if err != nil {
		return i, err
	}
	if err := d.startAgain(ctx, i); err != nil {
		return i, err
	}
	return i, d.whole(ctx)
}

// of returns a broker's index.
func (d *director) of(b *broker) int {
	for i, other := range d.machines.brokers {
		if other == b {
			return i
		}
	}
	panic("a broker that is not of this cluster")
}

// pauseLeader stops the leader's process for a while, as a machine that hangs.
func (d *director) pauseLeader(ctx context.Context) error {
	var since time.Time
	i, err := d.act(ctx, actPause, func(b *broker) error { since = time.Now(); return b.Pause() })
	if err == nil {
		_, err = d.until(ctx, "the pause is over", func(standing) bool { return time.Since(since) >= d.pause })
	}
	if err != nil {
		return err
	}
	if err := d.machines.brokers[i].Resume(); err != nil {
		return err
	}
	d.screen.event("  kill -CONT: %s goes on after %v, and follows", d.machines.brokers[i].label, time.Since(since).Round(100*time.Millisecond))
	return d.whole(ctx)
}

// wipeLeader takes all from the leader that it has, and has it come back with an empty folder at the same addresses.
func (d *director) wipeLeader(ctx context.Context) error {
	i, err := d.act(ctx, actWipe, func(b *broker) error {
		d.kill(d.of(b))
		return d.machines.wipe(b)
	})
	if err != nil {
		return err
	}
	if err := d.startAgain(ctx, i); err != nil {
		return err
	}
	if _, err := d.until(ctx, "the broker whose folder was wiped waits to be let in", func(st standing) bool { return st.brokers[i].state == "candidate" }); err != nil {
		return err
	}
	d.screen.event("  %s is back with an empty folder: it is another broker now, a candidate, and votes nowhere. It knows no replicated topic, and refuses\n"+
		"  what is published to one. The two others go on; if one of them died now the topic would stand still until it is back.\n"+
		"  That a new broker takes over the lost replica is not there yet (see docs/cluster.md).", d.machines.brokers[i].label)
	return d.more(ctx, 500)
}

// finish ends the load, waits for what is open, and judges.
func (d *director) finish(ctx context.Context) error {
	err := d.settle(ctx)
	d.load.close()
	c := d.load.ledger.now()
	d.screen.event("%s", c.line(time.Since(d.began)))
	d.table()
	return errors.Join(err, d.verdict())
}

// verdict says how it went, and stops all daemons when it went well.
func (d *director) verdict() error {
	if err := d.load.ledger.verdict(); err != nil {
		return err
	}
	c := d.load.ledger.now()
	d.screen.event("Every one of %s acknowledged messages was finished. %s came more than once.", appkit.Grouped(int64(c.acked)), appkit.Grouped(int64(c.again)))
	return d.machines.stop()
}

// settle ends the producers and waits until everything is finished, or nothing comes any more.
func (d *director) settle(ctx context.Context) error {
	d.load.endProducing()
	last, moved := d.load.ledger.now(), time.Now()
	_, err := d.until(ctx, "all that was acknowledged is finished", func(standing) bool {
		now := d.load.ledger.now()
		if now.finished != last.finished {
			last, moved = now, time.Now()
		}
		return now.open == 0 || time.Since(moved) > stalled
	})
	return err
}

// table shows what was done.
func (d *director) table() {
	if len(d.results) == 0 {
		return
	}
	d.screen.event("")
	table := tabwriter.NewWriter(d.screen.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "what\tto\tthen leads\tacknowledged again after\tdelivered again after\tduplicates")
	for _, r := range d.results {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\n", r.act, r.broker, r.next, seconds(r.publishing), seconds(r.delivering), r.again)
	}
	table.Flush()
	d.screen.event("")
	for _, act := range []string{actKill, actPause} {
		d.median(act)
	}
}

// median says how long an act that was done often took at the median, and at worst.
func (d *director) median(act string) {
	var publishing, delivering []time.Duration
	for _, r := range d.results {
		if r.act == act {
			publishing, delivering = append(publishing, r.publishing), append(delivering, r.delivering)
		}
	}
	if n := len(publishing); n > 2 {
		slices.Sort(publishing)
		slices.Sort(delivering)
		d.screen.event("%s, %d times: acknowledged again after %s at the median, %s at worst; delivered again after %s, and %s", act, n,
			seconds(publishing[n/2]), seconds(publishing[n-1]), seconds(delivering[n/2]), seconds(delivering[n-1]))
	}
}
