package democluster

import (
	"context"
	"errors"
	"flag"
	"time"

	"brokerd/apps/appkit"
)

// Command is the demo of a cluster.
var Command = appkit.Command{
	Name:    "demo-cluster",
	Summary: "kill brokers of a cluster under load, and count what is lost",
	Help: `Starts three brokers that are one cluster, two lookups and an admin on free ports of this machine, in an empty temporary folder, makes a
replicated topic (a preview), and has stock go-nsq clients publish and consume all the while. Then it kills whoever leads the topic, until each
broker has led it and died, pauses a leader, and wipes the folder of one. It exits with 0 only if all that was acknowledged was finished.
With --by-hand it kills nobody: it says which process to kill, starts it again after a while, and counts until Ctrl-C.`,
	Example: "brokerctl demo-cluster\nbrokerctl demo-cluster --by-hand",
	Alone:   true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		s := newSettings(flags)
		return func(ctx context.Context, env *appkit.Env) error {
			if err := s.check(); err != nil {
				return err
			}
			width, _ := env.Size()
			return run(ctx, *s, &screen{out: env.Stdout, width: width, bold: env.Bold})
		}
	},
}

// mostKills is how many leaders are killed where nobody says how many.
const mostKills = 10

// settings is what the user can choose.
type settings struct {
	bin          string // folder of the binaries; empty: of this program
	byHand       bool
	producers    int
	consumers    int
	rate         int // messages a second of each producer
	kills        int // of leaders; 0: until each broker has been one, mostKills at most
	pauses       int // of leaders
	pause        time.Duration
	restartAfter time.Duration // by hand: a broker that was killed is started again
}

func newSettings(flags *flag.FlagSet) *settings {
	s := &settings{}
	flags.StringVar(&s.bin, "bin", "", "the `folder` of brokerd, lookupd and admind (default the one of brokerctl)")
	flags.BoolVar(&s.byHand, "by-hand", false, "kill nobody: somebody else does")
	flags.IntVar(&s.producers, "producers", 3, "how many producers publish")
	flags.IntVar(&s.consumers, "consumers", 2, "how many consumers there are")
	flags.IntVar(&s.rate, "rate", 300, "how many messages a second each producer publishes, 1 to 100000")
	flags.IntVar(&s.kills, "kills", 0, "how many leaders are killed; 0: as many as it takes until each broker has been one, 10 at most")
	flags.IntVar(&s.pauses, "pauses", 1, "how many leaders are paused")
	flags.DurationVar(&s.pause, "pause", 5*time.Second, "how long a leader is paused, at least")
	flags.DurationVar(&s.restartAfter, "restart-after", 10*time.Second, "when a broker that was killed by hand is started again")
	return s
}

func (s *settings) check() error {
	switch {
	case s.producers < 1 || s.producers > 100:
		return appkit.Usagef("--producers must be 1 to 100, not %d", s.producers)
	case s.consumers < 1 || s.consumers > 100:
		return appkit.Usagef("--consumers must be 1 to 100, not %d", s.consumers)
	case s.rate < 1 || s.rate > 100000:
		return appkit.Usagef("--rate must be 1 to 100000, not %d", s.rate)
	case s.kills < 0 || s.kills > 10000:
		return appkit.Usagef("--kills must be 0 to 10000, not %d", s.kills)
	case s.pauses < 0 || s.pauses > 10000:
		return appkit.Usagef("--pauses must be 0 to 10000, not %d", s.pauses)
	case s.pause < 0 || s.pause > time.Hour:
		return appkit.Usagef("--pause must be 0 to 1h, not %v", s.pause)
	case s.restartAfter < 0:
		return appkit.Usagef("--restart-after must not be negative, and is %v", s.restartAfter)
	}
	return nil
}

// run is the demo. It returns nil only if nothing that was acknowledged is missing.
func run(ctx context.Context, s settings, out *screen) error {
	out.event("Starting two lookups, three brokers and an admin ...")
	m, err := startMachines(ctx, s.bin)
	if err != nil {
		return err
	}
	d := &director{settings: s, machines: m, screen: out, began: time.Now()}
	err = d.run(ctx)
	if d.load != nil {
		d.load.close()
	}
	return errors.Join(err, m.discard())
}
