package lookup

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// reloadWith has a server take other options, and fails the test when it does not.
func (s *Server) reloadWith(t testing.TB, opts Options) {
	t.Helper()
	if err := s.Reload(opts, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
}

// TestReloadChangesWhoMayRegister: networks and token files that a reload names count for brokers that are registered too: those that are let in
// stay, those that have nothing to show are cut off within a second or two, and may come back with a token.
func TestReloadChangesWhoMayRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		s := newServer(t, opts)
		s.goroutines.Go(s.keepGrants)
		p := s.pipe(t)
		p.identify(info("broker.test"))
		p.say("REGISTER t c")
		registered := func() int {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			return s.producers(t, "t")
		}
		path := filepath.Join(t.TempDir(), "tokens")
		token := addToken(t, path, "broker", "manage:t")
		for _, step := range []struct {
			name   string
			change func()
			want   int
		}{
			{"an open lookup", func() {}, 1},
			{"a token file that lets anonymous in", func() {
				appendTo(t, path, "anonymous manage,read\n")
				opts.TokenFile = path
			}, 1},
			{"a token file that does not", func() { rewrite(t, path, "anonymous manage,read", "anonymous read") }, 0},
		} {
			step.change()
			s.reloadWith(t, opts)
			if got := registered(); got != step.want {
				t.Errorf("%s: %d brokers have the topic", step.name, got)
			}
		}
		q := s.pipe(t)
		who := info("broker.test")
		who.Token = token
		q.identify(who)
		q.say("REGISTER t c")
		if got := registered(); got != 1 {
			t.Errorf("with a token: %d brokers have the topic", got)
		}
		opts.TokenFile = ""
		opts.AllowedNodes = []string{"10.0.0.0/8"} // the pipe is from nowhere
		s.reloadWith(t, opts)
		if got := registered(); got != 0 {
			t.Errorf("from outside the networks: %d brokers have the topic", got)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func addToken(t testing.TB, path, id string, grants ...string) string {
	t.Helper()
	parsed, err := grant.ParseGrants(grants)
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Add(path, id, parsed, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(old, text...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func rewrite(t testing.TB, path, old, with string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.ReplaceAll(string(text), old, with)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestReloadWithOneBadValueChangesNothing, whatever is bad, and says which it is.
func TestReloadWithOneBadValueChangesNothing(t *testing.T) {
	s := start(t)
	for want, spoil := range map[string]func(*Options){
		"--log-level":   func(o *Options) { o.LogLevel = "loud" },
		"--token-file":  func(o *Options) { o.TokenFile = "/nowhere" },
		"--audit-log":   func(o *Options) { o.AuditLog = "/nowhere/audit" },
		"--allow-node":  func(o *Options) { o.AllowedNodes = []string{"here"} },
		"--tls-cert":    func(o *Options) { o.TLSCert, o.TLSKey = "/nowhere.pem", "/nowhere.key" },
		"--tls-root-ca": func(o *Options) { o.TLSRootCAFile = "/nowhere.pem" },
	} {
		opts := testOptions()
		opts.AllowedHosts = []string{"spoiled.example"}
		spoil(&opts)
		if err := s.Reload(opts, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, wanted one about %s", err, want)
		}
		var hosts []string
		if code := s.get(t, "/config/http_allow_hosts", &hosts); code != http.StatusOK || len(hosts) > 0 {
			t.Errorf("%s: http_allow_hosts has changed to %v (%d)", want, hosts, code)
		}
	}
}

// TestConfigTellsWhatIsOpen: to other machines, which the loopback is not.
func TestConfigTellsWhatIsOpen(t *testing.T) {
	s := startWith(t, func(o *Options) { o.TCPAddress, o.HTTPAddress = "0.0.0.0:0", "0.0.0.0:0" })
	var open []string
	if code := s.get(t, "/config/exposed", &open); code != http.StatusOK || len(open) != 2 {
		t.Errorf("%d %q", code, open)
	}
	if code := s.get(t, "/config/exposed", &open); code != http.StatusOK || !strings.Contains(strings.Join(open, " "), "may register as a broker") {
		t.Errorf("%d %q", code, open)
	}
	if code := s.get(t, "/config/nothing", nil); code != http.StatusBadRequest {
		t.Errorf("a key that is none: %d", code)
	}
	insecure := startWith(t, func(o *Options) { o.HTTPAddress, o.Insecure = "0.0.0.0:0", true })
	if code := insecure.get(t, "/config/exposed", &open); code != http.StatusOK || !strings.Contains(strings.Join(open, " "), "see profiles") {
		t.Errorf("what --insecure opens: %d %q", code, open)
	}
	closed := start(t)
	if code := closed.get(t, "/config/exposed", &open); code != http.StatusOK || len(open) != 0 {
		t.Errorf("on the loopback: %d %q", code, open)
	}
}

// TestAReloadOpensItsFilesBeforeAnyoneWaits: settings can be read while an audit log is opened, on a disk that may hang.
func TestAReloadOpensItsFilesBeforeAnyoneWaits(t *testing.T) {
	s := newServer(t, testOptions())
	opts := testOptions()
	opts.AuditLog = filepath.Join(t.TempDir(), "nowhere", "audit")
	s.settings.mu.Lock() // who opens it under the lock waits here, until the test times out
	defer s.settings.mu.Unlock()
	if err := s.Reload(opts, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "--audit-log") {
		t.Error(err)
	}
}

// TestALookupThatStopsTakesNoSettings, such as those of a reload that a stop did not wait for.
func TestALookupThatStopsTakesNoSettings(t *testing.T) {
	s := start(t)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	opts := testOptions()
	opts.AuditLog = filepath.Join(t.TempDir(), "audit")
	before := s.handler.Load()
	if err := s.Reload(opts, httpapi.Origins{}); !errors.Is(err, errStopping) || s.handler.Load() != before {
		t.Error(err)
	}
}
