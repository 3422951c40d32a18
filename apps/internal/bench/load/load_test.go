package load

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// testSpec is a small load.
func testSpec(kind Kind, change func(s *Spec)) Spec {
	s := Spec{Kind: kind, Limit: 10 * time.Minute, Size: 100, Batch: 10, Publishers: 2, Depth: 1, Topics: 1, Channels: 1,
		Consumers: 1, RDY: 100, Messages: 1000, Patience: cmdtest.Patience}
	change(&s)
	return s
}

func mustRun(t *testing.T, f *fake, s Spec) *Result {
	t.Helper()
	r, err := Run(context.Background(), Broker{TCP: startFake(t, f)}, s, new(Live))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryMessageIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		fake *fake
		spec Spec
		want Counts
	}{
		"whole": {
			spec: testSpec(EndToEnd, func(*Spec) {}),
			want: Counts{Sent: 1000, Acked: 1000, Expected: 1000, Received: 1000},
		},
		"last batch not full, several unanswered": {
			spec: testSpec(EndToEnd, func(s *Spec) { s.Messages, s.Batch, s.Depth = 1001, 7, 5 }),
			want: Counts{Sent: 1001, Acked: 1001, Expected: 1001, Received: 1001},
		},
		"two channels, consumed afterwards": {
			spec: testSpec(Subscribe, func(s *Spec) { s.Channels = 2 }),
			want: Counts{Sent: 1000, Acked: 1000, Expected: 2000, Received: 2000},
		},
		"single messages of the smallest size": {
			spec: testSpec(EndToEnd, func(s *Spec) { s.Batch, s.Size = 1, MinSize }),
			want: Counts{Sent: 1000, Acked: 1000, Expected: 1000, Received: 1000},
		},
		"larger than what is read at once": {
			spec: testSpec(EndToEnd, func(s *Spec) { s.Batch, s.Size, s.Messages = 1, 300_000, 20 }),
			want: Counts{Sent: 20, Acked: 20, Expected: 20, Received: 20},
		},
		"lost": {
			fake: &fake{deliver: func(i int) int { return min(i%100, 1) }},
			spec: testSpec(EndToEnd, func(s *Spec) { s.Patience = 500 * time.Millisecond }),
			want: Counts{Sent: 1000, Acked: 1000, Expected: 1000, Received: 990, Lost: 10},
		},
		"twice": {
			fake: &fake{deliver: func(i int) int {
				if i%100 == 50 {
					return 2
				}
				return 1
			}},
			spec: testSpec(Subscribe, func(*Spec) {}),
			want: Counts{Sent: 1000, Acked: 1000, Expected: 1000, Received: 1000, Duplicated: 10},
		},
		"refused": {
			fake: &fake{refuse: func(i int) bool { return i%10 == 0 }},
			spec: testSpec(EndToEnd, func(*Spec) {}),
			want: Counts{Sent: 1000, Acked: 900, Expected: 900, Received: 900,
				Errors: map[string]int64{"E_MPUB_FAILED no space left": 10}},
		},
		"deferred": {
			spec: testSpec(Deferred, func(s *Spec) { s.Delay, s.Messages = 10*time.Millisecond, 50 }),
			want: Counts{Sent: 50, Acked: 50, Expected: 50, Received: 50},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.fake == nil {
				c.fake = new(fake)
			}
			r := mustRun(t, c.fake, c.spec)
			if !reflect.DeepEqual(r.Counts, c.want) {
				t.Errorf("counted %+v, wanted %+v", r.Counts, c.want)
			}
			whole := c.want.Lost == 0 && c.want.Duplicated == 0 && c.want.Errors == nil
			if problems := r.Problems(); (len(problems) == 0) != whole {
				t.Errorf("problems %q", problems)
			}
		})
	}
}

// A broker that does not reach the rate does not make the load longer than it is to be: what could not be sent is told.
func TestARateThatIsNotReachedEndsInTime(t *testing.T) {
	f := &fake{stall: func(int) time.Duration { return 20 * time.Millisecond }}
	began := time.Now()
	r := mustRun(t, f, testSpec(EndToEnd, func(s *Spec) {
		s.Rate, s.Batch, s.Publishers, s.Messages, s.Duration = 1000, 1, 2, 0, 500*time.Millisecond
	}))
	if took := time.Since(began); took > 4*time.Second { // at the rate of the broker it would be 5 s at least
		t.Errorf("it took %v", took)
	}
	if want := fmt.Sprintf("%d messages more", 500-r.Counts.Sent); r.Counts.Sent >= 500 || !strings.Contains(strings.Join(r.Notes, "; "), want) || len(r.Problems()) > 0 {
		t.Errorf("%d were sent of 500, and told is %q, %q", r.Counts.Sent, r.Notes, r.Problems())
	}
}

// A broker that stops for a moment delays all that should have been sent meanwhile, not only the publish that met it.
func TestAStallShowsInEveryMessageThatWaited(t *testing.T) {
	const stall = 300 * time.Millisecond
	f := &fake{stall: func(i int) time.Duration {
		if i == 100 {
			return stall
		}
		return 0
	}}
	r := mustRun(t, f, testSpec(EndToEnd, func(s *Spec) { s.Rate, s.Batch, s.Publishers, s.Messages = 1000, 1, 1, 1000 }))
	if r.Latency.Max < 290 {
		t.Errorf("the longest latency is %v ms, wanted that of the stall", r.Latency.Max)
	}
	// 300 of 1,000 messages should have been sent during the stall; their latencies are spread over it evenly.
	if r.Latency.P90 < 100 {
		t.Errorf("p90 is %v ms: messages that waited are left out", r.Latency.P90)
	}
	if r.Lag.Max < 250 {
		t.Errorf("the generator says it was late by %v ms at most", r.Lag.Max)
	}
}

func TestAnInterruptedRunTellsWhatItHas(t *testing.T) {
	f := new(fake)
	ctx, cancel := context.WithCancel(context.Background())
	live := new(Live)
	defer cancel()
	go func() {
		for live.Done.Load() < 500 && ctx.Err() == nil {
			<-time.After(time.Millisecond) // between two looks
		}
		cancel()
	}()
	spec := testSpec(EndToEnd, func(s *Spec) { s.Messages, s.Duration = 0, time.Minute })
	r, err := Run(ctx, Broker{TCP: startFake(t, f)}, spec, live)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Messages < 500 || r.Latency == nil || r.Counts.Lost != 0 || len(r.Problems()) > 0 {
		t.Errorf("result %+v with problems %q", r, r.Problems())
	}
}

func TestALimitEndsARunOnADeadBroker(t *testing.T) {
	f := &fake{deliver: func(int) int { return 0 }}
	spec := testSpec(EndToEnd, func(s *Spec) { s.Limit, s.Patience = 200*time.Millisecond, time.Hour })
	if r := mustRun(t, f, spec); !r.Interrupted || !strings.Contains(strings.Join(r.Notes, " "), "limit") {
		t.Errorf("%+v", r)
	}
}

func TestNoBrokerIsAnError(t *testing.T) {
	f := new(fake)
	address := startFake(t, f)
	f.listener.Close()
	if r, err := Run(context.Background(), Broker{TCP: address}, testSpec(Publish, func(*Spec) {}), new(Live)); err == nil {
		t.Errorf("no error, but %+v", r)
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for want, change := range map[string]func(s *Spec){
		"publishers": func(s *Spec) { s.Publishers = 0 },
		"size":       func(s *Spec) { s.Size = 15 },
		"batch":      func(s *Spec) { s.Batch = -1 },
		"rate":       func(s *Spec) { s.Rate = -1 },
		"limit":      func(s *Spec) { s.Limit = 0 },
		"bound":      func(s *Spec) { s.Messages = 0 },
		"no name":    func(s *Spec) { s.Topic = "a b" },
		"duration":   func(s *Spec) { s.Duration = -1 },
	} {
		s := testSpec(EndToEnd, change)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, wanted one about %s", err, want)
		}
	}
}

func TestShareOf(t *testing.T) {
	s := shareOf([]int64{90, 110, 100, 100})
	if s.Min != 90 || s.Max != 110 || s.Mean != 100 || s.Deviation < 7.07 || s.Deviation > 7.08 || s.Spread() != .1 {
		t.Errorf("%+v, spread %v", s, s.Spread())
	}
}

func TestProcessFiles(t *testing.T) {
	seconds, err := parseStat("123 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0")
	if err != nil || seconds != 4 {
		t.Errorf("%v CPU seconds, error %v, wanted 4", seconds, err)
	}
	if _, err := parseStat("123 (a) S 1 2"); err == nil {
		t.Error("a line without figures is no error")
	}
	memory, peak := parseStatus("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nBroken\n")
	if memory != 1<<20 || peak != 2<<20 {
		t.Errorf("memory %d, peak %d", memory, peak)
	}
}
