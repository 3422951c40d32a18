package cmdkit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol/httpapi"
)

// fake is a daemon that does what the test says.
type fake struct {
	start, shutdown func(context.Context) error
	failed          chan error
	lost            string
}

func (f *fake) Start(ctx context.Context) error    { return f.start(ctx) }
func (f *fake) Shutdown(ctx context.Context) error { return f.shutdown(ctx) }
func (f *fake) Failed() <-chan error               { return f.failed }
func (f *fake) Lost() string                       { return f.lost }

// newFake returns a daemon that starts and stops well.
func newFake() *fake {
	well := func(context.Context) error { return nil }
	return &fake{start: well, shutdown: well, failed: make(chan error, 1), lost: "all"}
}

// timeout is what a daemon gets for an orderly stop.
const timeout = 10 * time.Second

// serve runs d with the signals given before the start.
func serve(d Daemon, signals ...os.Signal) (code int, log string) {
	var out bytes.Buffer
	pending := make(chan os.Signal, len(signals))
	for _, s := range signals {
		pending <- s
	}
	logger := NewLogger(&out, "text", nil)
	code = Serve(Process{Signals: pending}, logger, d, nil, timeout)
	return code, out.String()
}

func TestASignalStopsInOrder(t *testing.T) {
	d := newFake()
	code, log := serve(d, syscall.SIGTERM)
	if code != ExitOK || !strings.Contains(log, `level=INFO msg=stopping signal=terminated`) {
		t.Errorf("code %d, log %s", code, log)
	}
}

func TestAFailedStartIsOneFatalLine(t *testing.T) {
	d := newFake()
	d.start = func(context.Context) error { return errors.New("address in use") }
	code, log := serve(d)
	if code != ExitFailed || strings.Count(log, "\n") != 1 || !strings.Contains(log, `level=FATAL msg="cannot start" error="address in use"`) {
		t.Errorf("code %d, log %s", code, log)
	}
}

func TestAFailureWhileServingStopsInOrderAndIsExitCode1(t *testing.T) {
	d := newFake()
	stopped := false
	d.shutdown = func(context.Context) error { stopped = true; return nil }
	d.failed <- errors.New("listener died")
	code, log := serve(d)
	if code != ExitFailed || !stopped || !strings.Contains(log, `level=FATAL msg=stopping error="listener died"`) {
		t.Errorf("code %d, stopped %v, log %s", code, stopped, log)
	}
}

func TestStopEndsWithItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFake()
		d.shutdown = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		code, log := serve(d, os.Interrupt)
		if code != ExitFailed || time.Since(began) != timeout || !strings.Contains(log, "level=FATAL") {
			t.Errorf("code %d after %v, log %s", code, time.Since(began), log)
		}
	})
}

// TestSignalsWhileStopping: which ones end a stop that takes its time, and when. The daemon needs longer than it is given, as one
// with much to save on a slow disk does.
func TestSignalsWhileStopping(t *testing.T) {
	const needed = timeout + time.Minute
	type press struct {
		after time.Duration // the one before
		sig   os.Signal
	}
	for _, c := range []struct {
		name    string
		presses []press
		ends    time.Duration // after the first
		code    int
		log     string
	}{
		{"none", []press{{0, syscall.SIGTERM}}, needed, ExitOK, `level=WARN msg="still stopping: one more signal ends it at once" shutdown_timeout=10s`},
		{"the same again, many times", []press{{0, syscall.SIGTERM}, {time.Millisecond, syscall.SIGTERM}, {0, syscall.SIGTERM}, {5 * time.Second, syscall.SIGTERM}},
			needed, ExitOK, `level=WARN msg="stopping already: only SIGQUIT ends it at once" signal=terminated`},
		{"TERM, then INT", []press{{0, syscall.SIGTERM}, {timeout - 1, os.Interrupt}}, needed, ExitOK, "signal=interrupt"},
		{"INT, then TERM", []press{{0, os.Interrupt}, {timeout - 1, syscall.SIGTERM}}, needed, ExitOK, "signal=terminated"},
		{"QUIT", []press{{0, syscall.SIGTERM}, {time.Second, syscall.SIGQUIT}}, time.Second, ExitFailed,
			`level=FATAL msg="ended at once" error="signal: quit" lost=all`},
		{"QUIT behind others", []press{{0, os.Interrupt}, {0, os.Interrupt}, {time.Second, syscall.SIGQUIT}}, time.Second, ExitFailed, "lost=all"},
		{"TERM when the time is up", []press{{0, syscall.SIGTERM}, {timeout + 1, syscall.SIGTERM}}, timeout + 1, ExitFailed,
			`level=FATAL msg="ended at once" error="signal: terminated" lost=all`},
		{"QUIT first", []press{{time.Millisecond, syscall.SIGQUIT}}, time.Millisecond, ExitFailed, "lost=all"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newFake()
				ended := make(chan struct{}) // a process that ends takes its goroutines with it
				d.shutdown = func(context.Context) error {
					select {
					case <-time.After(needed):
					case <-ended:
					}
					return nil
				}
				signals := make(chan os.Signal, 1)
				go func() {
					for _, p := range c.presses {
						time.Sleep(p.after)
						signals <- p.sig
					}
				}()
				var out bytes.Buffer
				began := time.Now()
				code := Serve(Process{Signals: signals}, NewLogger(&out, "text", nil), d, nil, timeout)
				close(ended)
				synctest.Wait()
				if log := out.String(); code != c.code || time.Since(began) != c.ends || strings.Count(log, c.log) != 1 {
					t.Errorf("code %d after %v, log %s", code, time.Since(began), log)
				}
			})
		})
	}
}

// TestSignalsWhileStarting: a start that takes long, as a take-over does, is given up in order, or stopped once it is there.
func TestSignalsWhileStarting(t *testing.T) {
	for _, c := range []struct {
		name    string
		start   func(ctx context.Context) error
		signals []os.Signal
		code    int
		stops   bool
		log     string
	}{
		{"given up", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, ExitOK, false,
			`level=INFO msg="stopped before it served"`},
		{"finished all the same", func(ctx context.Context) error { <-ctx.Done(); return nil }, []os.Signal{os.Interrupt}, ExitOK, true,
			`level=INFO msg=stopping signal=interrupt while=starting`},
		{"failed all the same", func(ctx context.Context) error { <-ctx.Done(); return errors.New("damage") }, []os.Signal{os.Interrupt}, ExitFailed, false,
			`level=FATAL msg="cannot start" error=damage`},
		{"QUIT", func(ctx context.Context) error { <-ctx.Done(); return nil }, []os.Signal{syscall.SIGQUIT}, ExitFailed, false,
			`level=FATAL msg="ended at once" error="signal: quit" lost="nothing, it was still starting"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, stopped := newFake(), false
			d.start = c.start
			d.shutdown = func(context.Context) error { stopped = true; return nil }
			code, log := serve(d, c.signals...)
			if code != c.code || stopped != c.stops || !strings.Contains(log, c.log) {
				t.Errorf("code %d, stopped %v, log %s", code, stopped, log)
			}
		})
	}
}

// TestASignalEndsAVerb that takes long, and has it put right what it has left.
func TestASignalEndsAVerb(t *testing.T) {
	s := defaults()
	p := program(&s)
	release, ended, restored := make(chan struct{}), make(chan struct{}), false
	p.Verbs = []Verb{{Name: "read", Interrupted: func() { restored = true },
		Run: func([]string, io.Writer) error { defer close(ended); <-release; return nil }}}
	signals := make(chan os.Signal, 1)
	signals <- os.Interrupt
	var out, log bytes.Buffer
	code, ok := p.Verb(Process{Args: []string{"read"}, Stdout: &out, Stderr: &log, Signals: signals})
	close(release)
	<-ended
	if want := "relay read: ended before it was done, by signal: interrupt\n"; !ok || code != ExitFailed || log.String() != want || !restored {
		t.Errorf("code %d, %v, restored %v, stderr %q", code, ok, restored, log.String())
	}
}

// TestAReloadThatHangsKeepsNoOtherWaiting: the other is refused, and the log says so.
func TestAReloadThatHangsKeepsNoOtherWaiting(t *testing.T) {
	var log bytes.Buffer
	hangs, release := make(chan struct{}), make(chan struct{})
	own := defaults()
	r := &reloader{log: NewLogger(&log, "text", nil), daemon: newFake(), program: Program{Again: func() Program {
		close(hangs)
		<-release
		again := program(&own)
		again.ShutdownTimeout, again.Validate = new(time.Second), func(Resolved) error { return nil }
		again.Reload = func(Daemon, httpapi.Origins, uint64) error { return nil }
		return again
	}}}
	first := make(chan error)
	go func() { first <- r.reload() }()
	<-hangs
	if err := r.reload(); !errors.Is(err, errUnderWay) || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), errUnderWay.Error()) {
		t.Errorf("%v, and the log says %s", err, log.String())
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
}

// TestAReloadIsToldOfChangesBeforeItReads: one that is made while the file itself is read came into it.
func TestAReloadIsToldOfChangesBeforeItReads(t *testing.T) {
	own, made, told := defaults(), uint64(4), uint64(0)
	r := &reloader{log: NewLogger(io.Discard, "text", nil), daemon: newFake(), program: Program{Again: func() Program {
		again := program(&own)
		again.ShutdownTimeout = new(time.Second)
		again.Validate = func(Resolved) error { // what was read is judged
			made++
			return nil
		}
		again.Changes = func(Daemon) uint64 { return made }
		again.Reload = func(_ Daemon, _ httpapi.Origins, changes uint64) error {
			told = changes
			return nil
		}
		return again
	}}}
	if err := r.reload(); err != nil || told != 4 || made != 5 {
		t.Errorf("%v: told of %d changes, of which 4 came before it and %d in all", err, told, made)
	}
}

// heard is a log that tells when it has a word.
type heard struct {
	bytes.Buffer // whose writers take turns
	word         string
	is           chan struct{}
}

func (h *heard) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(h.word)) {
		close(h.is)
	}
	return h.Buffer.Write(b)
}

// TestASignalIsNotLostToAReload: one that comes while settings are read for another reason has them read once more behind that.
func TestASignalIsNotLostToAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &heard{word: "are being read anew already", is: make(chan struct{})}
		read, release := make(chan struct{}), make(chan struct{})
		own, hangups, signals := defaults(), make(chan os.Signal, 1), make(chan os.Signal, 1)
		p, fake := program(&own), newFake()
		var put func() error // as PUT /config has it
		p.New = func(l Launch) (Daemon, error) { put = l.Reload; return fake, nil }
		p.Again = func() Program {
			read <- struct{}{}
			<-release
			again := program(&own)
			again.ShutdownTimeout, again.Validate = new(time.Second), func(Resolved) error { return nil }
			again.Reload = func(Daemon, httpapi.Origins, uint64) error { return nil }
			return again
		}
		logger := NewLogger(log, "text", nil)
		daemon, reload, err := p.launch(Process{}, Resolved{}, logger, new(slog.LevelVar))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan int)
		go func() {
			ended <- Serve(Process{Signals: signals, Hangups: hangups}, logger, daemon, reload, time.Second)
		}()
		go func() { _ = put() }() // the log says how it went
		<-read
		hangups <- syscall.SIGHUP
		<-log.is
		close(release)
		<-read // once more, or the bubble is stuck
		synctest.Wait()
		if n := strings.Count(log.String(), "settings were read anew"); n != 2 || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("read anew %d times: %s", n, log.String())
		}
		signals <- syscall.SIGTERM
		if code := <-ended; code != ExitOK {
			t.Errorf("exit code %d", code)
		}
	})
}

// TestAReloadThatHangsKeepsNoSignalWaiting: as when the settings lie on a network mount that does not answer. A reload that ends is waited for.
func TestAReloadThatHangsKeepsNoSignalWaiting(t *testing.T) {
	for _, c := range []struct {
		name         string
		takes, stops time.Duration
	}{
		{"hangs", time.Hour, reloadTime},
		{"ends", reloadTime / 2, reloadTime / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hangups, signals := make(chan os.Signal, 1), make(chan os.Signal, 1)
				began, over := make(chan struct{}), make(chan struct{})
				defer close(over) // a process that ends takes its goroutines with it
				reload := func() error {
					close(began)
					select {
					case <-time.After(c.takes):
					case <-over:
					}
					return nil
				}
				ended := make(chan int)
				go func() {
					ended <- Serve(Process{Signals: signals, Hangups: hangups}, NewLogger(io.Discard, "text", nil), newFake(), reload, timeout)
				}()
				hangups <- syscall.SIGHUP
				<-began
				at := time.Now()
				signals <- syscall.SIGTERM
				if code := <-ended; code != ExitOK || time.Since(at) != c.stops {
					t.Errorf("code %d after %v, want 0 after %v", code, time.Since(at), c.stops)
				}
			})
		})
	}
}
