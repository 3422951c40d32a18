package replica

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"brokerd/diskqueue/wal"
)

// Options says how a group is kept. Zero values have defaults, except for Log.
type Options struct {
	Log   Log       // the node's
	Level wal.Level // Synced: an entry counts for this replica when it is synced; Written: when it is written

	Clock         *Clock        // tells of ticks, for all groups of the node; nil: one of its own, with 50 ms
	ElectionTicks int           // 16, at least 8: a leader is missed after so many, or up to twice as many. It beats at every second one
	QuietTicks    int           // ElectionTicks at least: for so many a start votes for nobody and does not stand. An earlier start may have promised a leader more than this one does
	HangTicks     int           // 40: a leader whose log has hung for so many gives the lead away
	Lease         time.Duration // three quarters of the election timeout, and no more

	MaxEntry         int           // bytes of an entry's data, if no record is larger; 1 MiB
	Gather           time.Duration // 20 ms: what nobody waits for is proposed after that
	Uncommitted      int           // bytes that may wait for a majority; 32 MiB
	TellLate         bool          // followers learn what is committed from the next entries or with the next tick, else at once
	InflightMessages int           // to a follower, not answered; 256
	InflightBytes    int           // 8 MiB, at least MaxEntry
	Memory           int           // bytes of entries that are kept in memory though they can be read; 4 MiB
	Budget           *Budget       // what all groups of the node keep so together; nil: 64 MiB for this one

	// Full reports whether the owner has no room for more of what is committed, just now: it is told the rest once it has, or this replica leads. What is not told yet
	// stays in the log, and is acknowledged all the same. It is asked often, and does not wait; nil: there is always room.
	Full func() bool

	Tally  *Tally       // what is counted; nil: nobody asks
	Logger *slog.Logger // nil: nothing is logged
}

// leastTicks is how many ticks an election timeout has at least: n of them take n-1.75 ticks at least, and a lease is three quarters of n.
const leastTicks = 8

func (o *Options) normalize() error {
	if o.Clock == nil {
		o.Clock = NewClock(50*time.Millisecond, nil)
	}
	def(&o.ElectionTicks, 16)
	def(&o.HangTicks, 40)
	o.QuietTicks = max(o.QuietTicks, o.ElectionTicks)
	def(&o.Lease, time.Duration(o.ElectionTicks)*o.Clock.tick*3/4)
	def(&o.MaxEntry, 1<<20)
	def(&o.Gather, 20*time.Millisecond)
	def(&o.Uncommitted, 32<<20)
	def(&o.InflightMessages, 256)
	def(&o.InflightBytes, max(8<<20, o.MaxEntry))
	def(&o.Memory, 4<<20)
	if o.Budget == nil {
		o.Budget = NewBudget(64 << 20)
	}
	if o.Tally == nil {
		o.Tally = new(Tally)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Log == nil:
		return fmt.Errorf("a group of replicas has no log")
	case o.ElectionTicks < leastTicks:
		return fmt.Errorf("an election timeout of %d ticks, must be at least %d", o.ElectionTicks, leastTicks)
	case o.Lease > time.Duration(o.ElectionTicks)*o.Clock.tick*3/4:
		return fmt.Errorf("a lease of %s is more than three quarters of the election timeout of %d ticks of %s", o.Lease, o.ElectionTicks, o.Clock.tick)
	case o.InflightBytes < o.MaxEntry:
		return fmt.Errorf("%d bytes in flight are less than an entry of %d", o.InflightBytes, o.MaxEntry)
	}
	return nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// logger hands the engine's log on. It says much; only what it warns of is for people.
type logger struct{ to *slog.Logger }

func (l logger) put(level slog.Level, text string) {
	l.to.Log(context.Background(), level, "engine of a group", "says", text)
}

func (l logger) Debug(...any)              {}
func (l logger) Debugf(string, ...any)     {}
func (l logger) Info(...any)               {}
func (l logger) Infof(string, ...any)      {}
func (l logger) Warning(v ...any)          { l.put(slog.LevelWarn, fmt.Sprint(v...)) }
func (l logger) Error(v ...any)            { l.put(slog.LevelError, fmt.Sprint(v...)) }
func (l logger) Fatal(v ...any)            { panic(fmt.Sprint(v...)) } // the machine catches it
func (l logger) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (l logger) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (l logger) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (l logger) Warningf(f string, v ...any) {
	l.put(slog.LevelWarn, fmt.Sprintf(f, v...))
}
func (l logger) Errorf(f string, v ...any) { l.put(slog.LevelError, fmt.Sprintf(f, v...)) }
