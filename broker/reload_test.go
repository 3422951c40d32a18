package broker_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// settings returns what GET /config says, by key.
func (n *node) settings() map[string]httpapi.Setting {
	n.t.Helper()
	var list httpapi.Settings
	if err := json.Unmarshal([]byte(n.get("/config")), &list); err != nil {
		n.t.Fatal(err)
	}
	byKey := map[string]httpapi.Setting{}
	for _, s := range list.Settings {
		byKey[s.Key] = s
	}
	return byKey
}

// TestReloadChangesLimitsForWhoComesThen, and for HTTP and what consumers ask at once.
func TestReloadChangesLimitsForWhoComesThen(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.MaxMsgSize, o.MaxRdyCount = 100, 10
	n := startWith(t, o)
	before := n.dial()
	before.Send(prototest.Pub("t", "x"))
	before.Expect("OK") // it is served now
	o.MaxMsgSize, o.MaxRdyCount, o.TopicDurability = 10, 20, []string{"safe.*=fsync"}
	if err := n.Reload(o, httpapi.Origins{Sources: map[string]string{"max-msg-size": "key max_msg_size of f"}}); err != nil {
		t.Fatal(err)
	}
	before.Send(prototest.Pub("t", strings.Repeat("x", 50)))
	before.Expect("OK") // it was told so by IDENTIFY
	after := n.dial()
	after.Send("SUB other c\n") // where nothing comes between the answers
	after.Expect("OK")
	after.Send("RDY 20\n" + prototest.Pub("t", strings.Repeat("x", 50)))
	after.ExpectError("E_BAD_MESSAGE PUB message too big 50 > 10")
	if status, _ := n.ask(http.MethodPost, "/pub?topic=t", strings.Repeat("x", 50)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("HTTP took a message that is too long: %d", status)
	}
	n.publish("safe.one", "x")
	if got := n.get("/topic/config?topic=safe.one"); !strings.Contains(got, "fsync") {
		t.Errorf("a new rule for topics is not used: %s", got)
	}
	s := n.settings()
	if got := s["max_msg_size"]; got.Value != 10.0 || got.Source != "key max_msg_size of f" || !got.Reload {
		t.Errorf("GET /config: %+v", got)
	}
	if got := s["mem_queue_size"]; got.Source != "default" || got.Reload {
		t.Errorf("GET /config: %+v", got)
	}
}

// TestReloadWithOneBadValueChangesNothing, whatever is bad, and says which it is.
func TestReloadWithOneBadValueChangesNothing(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	for name, c := range map[string]struct {
		spoil func(*broker.Options)
		want  string
	}{
		"a limit":        {func(o *broker.Options) { o.MaxMsgSize = -1 }, "--max-msg-size"},
		"a level":        {func(o *broker.Options) { o.LogLevel = "loud" }, "--log-level"},
		"a rule":         {func(o *broker.Options) { o.TopicDurability = []string{"x=often"} }, "--topic-durability"},
		"a lookup":       {func(o *broker.Options) { o.LookupdTCPAddresses = []string{"nowhere"} }, "--lookupd-tcp-address"},
		"a certificate":  {func(o *broker.Options) { o.TLSCert, o.TLSKey = "/nowhere.pem", "/nowhere.key" }, "--tls-cert"},
		"an authority":   {func(o *broker.Options) { o.TLSRootCAFile = "/nowhere.pem" }, "--tls-root-ca-file"},
		"what restarts":  {func(o *broker.Options) { o.MaxMsgSize = 65 << 20; o.MaxBodySize = 66 << 20 }, "needs a restart"},
		"an auth daemon": {func(o *broker.Options) { o.AuthHTTPAddresses = []string{"::"} }, "auth"},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := o
			fresh.MaxRdyCount, fresh.HTTPAllowHosts = 7, []string{"example.com"}
			c.spoil(&fresh)
			err := n.Reload(fresh, httpapi.Origins{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, wanted one about %s", err, c.want)
			}
			if got := n.settings()["max_rdy_count"].Value; got != float64(o.MaxRdyCount) {
				t.Errorf("max_rdy_count has changed to %v", got)
			}
		})
	}
	if got := n.get("/metrics"); !strings.Contains(got, "brokerd_config_last_reload_successful 0") {
		t.Error("metrics do not tell that the last reload failed")
	}
	if err := n.Reload(o, httpapi.Origins{}); err != nil { // the same again is a success
		t.Error(err)
	}
}

// TestReloadTellsWhatNeedsARestart, and does not change it.
func TestReloadTellsWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	fresh := o
	fresh.MemQueueSize = 5
	if err := n.Reload(fresh, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	if got := n.settings()["mem_queue_size"]; got.Value != float64(o.MemQueueSize) || got.Restart != 5.0 {
		t.Errorf("%+v", got)
	}
}

// TestWhatWasPutHoldsUntilAReload.
func TestWhatWasPutHoldsUntilAReload(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	if status, answer := n.ask(http.MethodPut, "/config/log_level", "debug"); status != http.StatusOK {
		t.Fatal(answer)
	}
	if got := n.settings()["log_level"]; got.Source != "PUT /config/log_level" {
		t.Errorf("%+v", got)
	}
	if err := n.Reload(o, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	if got := n.get("/config/log_level"); got != "2" {
		t.Errorf("log level %s after a reload", got)
	}
}

// TestEmptyPutReadsSettingsAnew, and a body, or what cannot be read, changes nothing.
func TestEmptyPutReadsSettingsAnew(t *testing.T) {
	t.Parallel()
	o := options(t)
	s, err := broker.New(o, errorsOnly(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	calls, fails := 0, error(nil)
	s.Configured(httpapi.Origins{}, func() error { calls++; return fails })
	n := serve(t, s, o)
	if status, answer := n.ask(http.MethodPut, "/config", ""); status != http.StatusOK || !strings.Contains(answer, `"settings":[{`) || calls != 1 {
		t.Errorf("%d %s after %d calls", status, answer, calls)
	}
	if status, answer := n.ask(http.MethodPut, "/config", "{}"); status != http.StatusBadRequest || calls != 1 {
		t.Errorf("with a body: %d %s", status, answer)
	}
	fails = errors.New("--msg-timeout is wrong\nand so is another")
	status, answer := n.ask(http.MethodPut, "/config", "")
	if status != http.StatusBadRequest || !strings.Contains(answer, "nothing has changed: --msg-timeout is wrong; and so is another") {
		t.Errorf("%d %s", status, answer)
	}
}

// TestNoSecretIsShownInConfig.
func TestNoSecretIsShownInConfig(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) {
		o.AuthHTTPAddresses = []string{"http://user:canary-1@127.0.0.1:1/auth?key=canary-2"}
	})
	for _, path := range []string{"/config", "/config/auth_http_addresses", "/metrics", "/stats?format=json", "/stats", "/info"} {
		if got := n.get(path); strings.Contains(got, "canary") {
			t.Errorf("%s shows a secret: %s", path, got)
		}
	}
}

// renew writes another certificate of the authority over the files of o.
func (a *authority) renew(o *broker.Options, serial int64) {
	a.t.Helper()
	a.Serial = serial
	a.serve(o)
	later := time.Now().Add(time.Duration(serial) * time.Hour) // the file system's clock may be coarse
	for _, name := range []string{o.TLSCert, o.TLSKey} {
		if err := os.Chtimes(name, later, later); err != nil {
			a.t.Fatal(err)
		}
	}
}

// serialOf returns the serial number that a listener shows.
func serialOf(t *testing.T, address string, cfg *tls.Config) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// TestRenewedCertificateIsServedAndNoConnectionIsCut: clients publish over TLS all the time while the files are
// renewed, once without a word to the broker and once with a reload. The wire and HTTPS show the new one.
func TestRenewedCertificateIsServedAndNoConnectionIsCut(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	o := options(t)
	a.serve(&o)
	n := startWith(t, o)
	const clients = 16
	var published, stop atomic.Int64
	var failed atomic.Value
	var done sync.WaitGroup
	for range clients {
		c := n.askTLS()
		if err := secure(c, a.Client()); err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			for stop.Load() == 0 {
				c.Send(prototest.Pub("t", "x"))
				if f, err := c.Read(); err != nil || string(f.Payload) != "OK" {
					failed.CompareAndSwap(nil, fmt.Sprintf("%v %v", f, err))
					return
				}
				published.Add(1)
			}
		})
	}
	wire := func() int64 {
		c := n.askTLS()
		defer c.Conn.Close()
		shown := int64(0)
		cfg := a.Client()
		cfg.VerifyConnection = func(s tls.ConnectionState) error {
			shown = s.PeerCertificates[0].SerialNumber.Int64()
			return nil
		}
		if err := secure(c, cfg); err != nil {
			t.Error(err)
		}
		return shown
	}
	a.renew(&o, 7)
	eventually(t, "the renewed certificate is shown", func() bool {
		return serialOf(t, n.HTTPSAddr().String(), a.Client()) == 7 && wire() == 7
	})
	a.renew(&o, 8)
	if err := n.Reload(o, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	if https, tcp := serialOf(t, n.HTTPSAddr().String(), a.Client()), wire(); https != 8 || tcp != 8 {
		t.Errorf("after a reload HTTPS shows %d, the wire %d", https, tcp)
	}
	if err := os.WriteFile(o.TLSKey, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Reload(o, httpapi.Origins{}); err == nil {
		t.Error("a key that is none was taken")
	}
	if got := wire(); got != 8 {
		t.Errorf("a bad file changed what is served: %d", got)
	}
	at := published.Load()
	eventually(t, "all clients go on", func() bool { return published.Load() > at+10*clients || failed.Load() != nil })
	stop.Store(1)
	done.Wait()
	if why := failed.Load(); why != nil {
		t.Errorf("a client was cut: %v", why)
	}
	got := n.get("/metrics")
	for _, name := range []string{"brokerd_certificate_start_timestamp_seconds", "brokerd_certificate_expiry_timestamp_seconds"} {
		if !strings.Contains(got, "\n"+name+" ") {
			t.Errorf("metrics do not tell %s of the certificate", name)
		}
	}
	t.Logf("%d publishes over %d connections went through", published.Load(), clients)
}

// TestSwappedLinkIsFollowed: the certificate's folder is a symbolic link that is moved, as Kubernetes does.
func TestSwappedLinkIsFollowed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	o := options(t)
	root := t.TempDir()
	for serial, name := range map[int64]string{3: "first", 4: "second"} {
		a.Serial, a.Dir = serial, filepath.Join(root, name)
		if err := os.Mkdir(a.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		a.serve(&o)
	}
	link := filepath.Join(root, "current")
	o.TLSCert, o.TLSKey, o.TLSRootCAFile = filepath.Join(link, "cert.pem"), filepath.Join(link, "key.pem"), filepath.Join(link, "ca.pem")
	if err := os.Symlink("first", link); err != nil {
		t.Fatal(err)
	}
	n := startWith(t, o)
	if got := serialOf(t, n.HTTPSAddr().String(), a.Client()); got != 3 {
		t.Fatalf("serial %d at first", got)
	}
	if err := errors.Join(os.Symlink("second", link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other folder's certificate is shown", func() bool {
		return serialOf(t, n.HTTPSAddr().String(), a.Client()) == 4
	})
}

// TestReloadTurnsAccessOnAndOff: a token file that a reload names asks clients who they are, cuts off those that have shown nothing, and counts for
// HTTP; another file cuts off only clients whose token it has not; without one nobody is asked any more, and nobody is disturbed.
func TestReloadTurnsAccessOnAndOff(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	stranger := n.dial()
	stranger.Send("SUB t c\nRDY 1\n")
	stranger.Expect("OK")
	first, second := newTokens(t), newTokens(t)
	stays, goes := first.add("stays", "consume,publish"), first.add("goes", "consume,publish")
	reload := func(change func(*broker.Options)) {
		t.Helper()
		change(&o)
		if err := n.Reload(o, httpapi.Origins{}); err != nil {
			t.Fatal(err)
		}
	}
	reload(func(o *broker.Options) { o.TokenFile = first.path })
	stranger.ExpectClosed()
	if status, _ := n.ask(http.MethodPost, "/pub?topic=t", "x"); status != http.StatusUnauthorized {
		t.Errorf("HTTP asks nobody who he is: %d", status)
	}
	a, b := auth(n.dial(), stays, 1), auth(n.dial(), goes, 1)
	a.Send("SUB t c\n")
	a.Expect("OK")
	b.Send("SUB t c\n")
	b.Expect("OK")
	text, err := os.ReadFile(first.path)
	if err != nil {
		t.Fatal(err)
	}
	second.write(string(text))
	if err := grant.Remove(second.path, "goes"); err != nil {
		t.Fatal(err)
	}
	reload(func(o *broker.Options) { o.TokenFile = second.path })
	b.ExpectError("E_AUTH_FAILED AUTH failed: the grants of token goes are gone")
	a.Send(prototest.Pub("t", "x"))
	a.Expect("OK")
	second.add("later", "publish") // the new file is watched
	reload(func(o *broker.Options) { o.TokenFile = "" })
	a.Send(prototest.Pub("t", "y"))
	a.Expect("OK")
	open := n.dial()
	open.Send(prototest.Pub("t", "z"))
	open.Expect("OK")
	if got := n.get("/config/exposed"); got != "[]" {
		t.Errorf("exposed: %s", got) // it is the loopback
	}
}

// TestReloadChangesQuotasAndAuditLog, for connections that are there too; a file that cannot be written changes nothing, and one that was moved
// away, as log rotation does, is made anew.
func TestReloadChangesQuotasAndAuditLog(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	fresh, path := o, filepath.Join(t.TempDir(), "audit")
	fresh.AuditLog, fresh.QuotaCommands = filepath.Join(path, "nowhere"), 1
	if err := n.Reload(fresh, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), "--audit-log") {
		t.Errorf("error %v", err)
	}
	if got := n.settings()["quota_commands"].Value; got != 0.0 {
		t.Errorf("quota_commands has changed to %v", got)
	}
	fresh.AuditLog, fresh.QuotaCommands = path, 0
	if err := n.Reload(fresh, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	n.post("/topic/create?topic=a", "")
	eventually(t, "the act is not in the audit log", func() bool { return strings.Contains(readFile(path), `"topic":"a"`) })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	fresh.QuotaPublishes = 1
	if err := n.Reload(fresh, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	n.post("/topic/create?topic=b", "")
	eventually(t, "the act is not in the new audit log", func() bool { return strings.Contains(readFile(path), `"topic":"b"`) })
	if strings.Contains(readFile(path+".1"), `"topic":"b"`) {
		t.Error("the act went to the file that was moved away")
	}
	eventually(t, "the new quota is kept", func() bool {
		status, _ := n.ask(http.MethodPost, "/pub?topic=a", "x")
		return status == http.StatusTooManyRequests
	})
}

// readFile returns a file's text, empty while there is none.
func readFile(path string) string {
	text, _ := os.ReadFile(path) // the caller asks again
	return string(text)
}
