package broker

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"brokerd/broker/topic"
	"brokerd/cmd/cmdtest"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// TestAReloadDoesNotTakeBackWhatIsSetMeanwhile: who changes a setting through /config while files are read finds it in force, and the reload says so and
// leaves nothing open.
func TestAReloadDoesNotTakeBackWhatIsSetMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := virtual(t, func(*Options) {})
		fresh := s.opts
		fresh.MaxRdyCount, fresh.AuditLog = 7, filepath.Join(t.TempDir(), "acts")
		p, err := s.readAnew(&fresh)
		if err != nil {
			t.Fatal(err)
		}
		if err := (api{s}).SetLogLevel("debug"); err != nil {
			t.Fatal(err)
		}
		if err := s.take(p, nil, httpapi.Origins{}); !errors.Is(err, errChanged) {
			t.Errorf("the reload that a change came into: %v", err)
		}
		if o := s.now(); o.LogLevel != "debug" || o.MaxRdyCount == 7 || s.reloads.LastGood {
			t.Errorf("in force are level %s and --max-rdy-count %d; counted are %+v", o.LogLevel, o.MaxRdyCount, s.reloads)
		}
		if err := p.acts.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the audit log is open still: %v", err)
		}
		if err := s.Reload(fresh, httpapi.Origins{}); err != nil || s.now().MaxRdyCount != 7 || s.now().LogLevel != s.opts.LogLevel {
			t.Errorf("once more: %v, %+v", err, s.now())
		}
	})
}

// TestAReloadWaitsForNone: one that hangs with the disk of its files keeps no other waiting, which is told.
func TestAReloadWaitsForNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := virtual(t, func(*Options) {})
		s.reloading.Lock() // it hangs
		if err := s.Reload(s.opts, httpapi.Origins{}); !errors.Is(err, errUnderWay) {
			t.Error(err)
		}
		s.reloading.Unlock()
		if err := s.Reload(s.opts, httpapi.Origins{}); err != nil {
			t.Errorf("behind it: %v", err)
		}
	})
}

// TestABrokerThatStopsTakesNoSettings, such as those of a reload that a stop did not wait for.
func TestABrokerThatStopsTakesNoSettings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		acts := filepath.Join(t.TempDir(), "acts")
		var s *Server
		var p prepared
		t.Cleanup(func() { // the broker has stopped
			if err := s.take(p, nil, httpapi.Origins{}); !errors.Is(err, errStopping) || s.now().MaxRdyCount == 7 {
				t.Errorf("%v, %+v", err, s.now())
			}
			if err := p.acts.Close(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("the audit log is open still: %v", err)
			}
		})
		s, _ = virtual(t, func(*Options) {})
		fresh := s.opts
		fresh.MaxRdyCount, fresh.AuditLog = 7, acts
		var err error
		if p, err = s.readAnew(&fresh); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAReloadThatWaitsForATopicKeepsNobodyWaiting: while the disk hangs that the log of a topic is on, settings are in force, and answered.
func TestAReloadThatWaitsForATopicKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	s, _ := virtual(t, func(*Options) {})
	if _, err := s.registry.Topic("orders"); err != nil {
		t.Fatal(err)
	}
	hangs, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.around.files.(*vfs.Faulty).Observe(func(op vfs.Op, _ string) {
		if op == vfs.OpWrite {
			once.Do(func() { close(hangs) })
			<-release
		}
	})
	deleted, reloaded := make(chan error, 1), make(chan error, 1)
	go func() { deleted <- s.registry.DeleteTopic("orders") }() // nobody else has the topic until that is in the log
	<-hangs
	fresh := s.opts
	fresh.MaxRdyCount = 7
	go func() { reloaded <- s.Reload(fresh, httpapi.Origins{}) }()
	cmdtest.Eventually(t, "the settings are in force and not locked", cmdtest.Patience, func() bool {
		if s.now().MaxRdyCount != 7 || !s.mu.TryLock() {
			return false
		}
		s.mu.Unlock()
		return true
	})
	select {
	case <-reloaded:
		t.Error("the reload waits for no topic: this test proves nothing")
	default:
	}
	close(release)
	if err := errors.Join(<-deleted, <-reloaded); err != nil {
		t.Error(err)
	}
}

// TestADrainKeepsNoReloadWaiting: its steps take locks, and wait for no disk, so that settings are read and set however long what is drained takes.
func TestADrainKeepsNoReloadWaiting(t *testing.T) {
	t.Parallel()
	s, dial := virtual(t, func(o *Options) { o.Durability = Durability(topic.Disk) })
	c := dial()
	c.Send(prototest.Pub("orders", "one") + "SUB orders c\nRDY 1\n")
	c.Expect("OK")
	c.Expect("OK")
	id := c.ExpectMessage("one", 1).ID
	hangs, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.around.files.(*vfs.Faulty).Observe(func(op vfs.Op, _ string) {
		if op == vfs.OpWrite {
			once.Do(func() { close(hangs) })
			<-release
		}
	})
	c.Send("FIN " + id + "\n")
	<-hangs // the log writes down what the client has answered
	for _, empty := range []bool{true, false} {
		if err := s.StartDrain(Drain{Empty: empty, Stay: true}); err != nil {
			t.Fatal(err)
		}
		fresh := s.opts
		fresh.MaxRdyCount = 7
		if err := s.Reload(fresh, httpapi.Origins{}); err != nil || s.now().MaxRdyCount != 7 {
			t.Errorf("a reload: %v", err)
		}
		if err := (api{s}).SetLogLevel("debug"); err != nil {
			t.Error(err)
		}
		if err := s.EndDrain(); err != nil {
			t.Error(err)
		}
	}
	close(release)
}
