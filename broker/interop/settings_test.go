package interop

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// settingOf returns a daemon's setting, as GET /config tells it.
func settingOf(t *testing.T, d *cmdtest.Process, key string) httpapi.Setting {
	t.Helper()
	var list httpapi.Settings
	d.Get(t, "/config", &list)
	for _, s := range list.Settings {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("%s lists no %s", d.Label, key)
	return httpapi.Setting{}
}

// writeText writes a file.
func writeText(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSIGHUPReadsTheFileAnew, on each daemon; a file with one bad value changes nothing, and flags go on winning.
func TestSIGHUPReadsTheFileAnew(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"brokerd", "lookupd", "admind"} {
		t.Run(name, func(t *testing.T) {
			file := writeText(t, filepath.Join(t.TempDir(), "conf.toml"), "log_level = \"warn\"\n")
			var d *cmdtest.Process
			switch name {
			case "brokerd":
				d = cmdtest.NewBroker(t, name, t.TempDir())
			case "lookupd":
				d = cmdtest.NewLookup(t, name)
			default:
				d = cmdtest.NewAdmin(t, name, "--nsqd-http-address=127.0.0.1:1")
			}
			d.Args = append(d.Args, "--config="+file)
			d.Start(t)
			at := settingOf(t, d, "log_level")
			if at.Source != "key log_level of "+file || !at.Reload {
				t.Errorf("%+v", at)
			}
			writeText(t, file, "log_level = \"error\"\nhttp_address = \"127.0.0.1:1\"\n")
			d.Signal(t, syscall.SIGHUP)
			cmdtest.Eventually(t, "the level has changed", 5*time.Second, func() bool { return settingOf(t, d, "log_level").Value != at.Value })
			if got := settingOf(t, d, "http_address"); got.Source != "flag" || got.Value != d.HTTP {
				t.Errorf("the file won over a flag: %+v", got)
			}
			at = settingOf(t, d, "log_level")
			writeText(t, file, "log_level = \"loud\"\n")
			d.Signal(t, syscall.SIGHUP)
			cmdtest.Eventually(t, "the log says what is wrong", 5*time.Second, func() bool { return strings.Contains(d.LastWords(), "loud") })
			if got := settingOf(t, d, "log_level"); got.Value != at.Value {
				t.Errorf("a bad file changed the level to %v", got.Value)
			}
			if name == "brokerd" {
				cmdtest.Eventually(t, "metrics tell that the file could not be used", 0, func() bool {
					return strings.Contains(scrape(t, d), "brokerd_config_last_reload_successful 0")
				})
			}
			if a := ask(t, d, http.MethodPut, "/config", ""); a.status != http.StatusBadRequest || !strings.Contains(a.body, "loud") {
				t.Errorf("PUT /config: %d %s", a.status, a.body)
			}
			writeText(t, file, "")
			put(t, d, "/config", "")
			if got := settingOf(t, d, "log_level"); got.Source != "default" {
				t.Errorf("after the file is empty: %+v", got)
			}
		})
	}
}

// TestCheckConfig judges and starts nothing: 0 and a line on stdout, or 2 and what is wrong on stderr.
func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	good := writeText(t, filepath.Join(dir, "good.toml"), "log_level = \"warn\"\nlog_levle = 1\n")
	bad := writeText(t, filepath.Join(dir, "bad.toml"), "log_level = \"loud\"\n")
	short := writeText(t, filepath.Join(dir, "secret"), "fifteen bytes..\n")
	cluster := func(more ...string) []string {
		return append([]string{"brokerd", "--cluster-name=prod", "--cluster-peers=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"}, more...)
	}
	for _, c := range []struct {
		args       []string
		code       int
		out, wrong string
	}{
		{[]string{"brokerd", "--config=" + good}, 0, "good.toml, flags and environment are good", "did you mean log_level?"},
		{[]string{"brokerd", "--config=" + bad}, 2, "", "from the key log_level of " + bad},
		{[]string{"brokerd", "--tls-cert=/nowhere.pem", "--tls-key=/nowhere.key"}, 2, "", "--tls-cert"},
		{[]string{"brokerd", "--lookupd-token-file=/nowhere"}, 2, "", "--lookupd-token-file: "},
		{[]string{"admind", "--nsqd-http-address=127.0.0.1:1", "--users-file=/nowhere"}, 2, "", "--users-file: users file"},
		{[]string{"admind", "--nsqd-http-address=127.0.0.1:1", "--http-client-token-file=/nowhere"}, 2, "", "--http-client-token-file: "},
		{[]string{"admind", "--nsqd-http-address=127.0.0.1:1", "--audit-log=/nowhere/acts"}, 2, "", "--audit-log: "},
		{[]string{"brokerd", "--msg-timeout=soon"}, 2, "", "--msg-timeout must be a duration"},
		{cluster(), 0, "are good", ""},
		{cluster("--cluster-peers=127.0.0.1:1"), 2, "", "--cluster-peers must be addresses as host:port, each once"},
		{[]string{"brokerd", "--cluster-name=prod", "--cluster-peers=127.0.0.1:1"}, 2, "", "--cluster-peers must name 3 brokers at least"},
		{[]string{"brokerd", "--cluster-peers=127.0.0.1:1"}, 2, "", "--cluster-name must be given"},
		{cluster("--cluster-listen=0.0.0.0:1"), 2, "", "--cluster-listen must be on loopback without"},
		{cluster("--cluster-election-timeout=1ms"), 2, "", "--cluster-election-timeout must be from 500ms to 10s"},
		{cluster("--cluster-secret-file=/nowhere"), 2, "", "--cluster-secret-file: "},
		{cluster("--cluster-secret-file=" + short), 2, "", "16 are the least"},
		{cluster("--cluster-tls-cert=/nowhere", "--cluster-tls-key=/nowhere", "--cluster-tls-ca=/nowhere"), 2, "", "--cluster-tls-ca"},
		{[]string{"lookupd"}, 0, "flags and environment are good", ""},
		{[]string{"lookupd", "--tombstone-lifetime=-1s"}, 2, "", "--tombstone-lifetime must be 0 or more"},
		{[]string{"admind", "--nsqd-http-address=127.0.0.1:1"}, 0, "are good", ""},
		{[]string{"admind", "--nsqd-http-address=127.0.0.1:1", "--state-path=state"}, 0, "are good", ""},
		{[]string{"admind"}, 2, "", "required"},
	} {
		command := exec.CommandContext(t.Context(), cmdtest.Find(t, c.args[0]), append(c.args[1:], "--check-config")...)
		var out, wrong strings.Builder
		command.Stdout, command.Stderr, command.Dir = &out, &wrong, t.TempDir()
		_ = command.Run() // the code says it
		if code := command.ProcessState.ExitCode(); code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(wrong.String(), c.wrong) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", c.args, code, &out, &wrong)
		}
		if left, err := os.ReadDir(command.Dir); err != nil || len(left) > 0 {
			t.Errorf("%q left %v in its folder, %v", c.args, left, err)
		}
	}
}

// TestNoSecretIsShownAnywhere: not in a log at level debug, in /config, figures, metrics or profiles, nor in the list of
// processes, of an auth daemon's URL in the file and of what clients send to AUTH, refused or not.
func TestNoSecretIsShownAnywhere(t *testing.T) {
	file := writeText(t, filepath.Join(t.TempDir(), "conf.toml"), `auth_http_addresses = ["http://us:canary-file@127.0.0.1:1/auth?key=canary-query"]`+"\n")
	b := cmdtest.NewBroker(t, "brokerd", t.TempDir(), "--config="+file, "--log-level=debug")
	b.Start(t)
	for range 2 {
		refusedAuth(t, b.TCP, "canary-auth")
	}
	b.Signal(t, syscall.SIGHUP)
	cmdtest.Eventually(t, "settings are read anew", 5*time.Second, func() bool { return strings.Contains(b.Log(t), "settings were read anew") })
	for _, path := range []string{"/config", "/config/auth_http_addresses", "/stats", "/stats?format=json", "/metrics", "/info",
		"/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/storage"} {
		if a := ask(t, b, http.MethodGet, path, ""); a.status != http.StatusOK || strings.Contains(a.body, "canary") {
			t.Errorf("%s: %d, with a secret: %v", path, a.status, strings.Contains(a.body, "canary"))
		}
	}
	if log := b.Log(t); strings.Contains(log, "canary") {
		t.Errorf("a secret is in the log:\n%s", log)
	}
	if arguments, err := json.Marshal(b.Args); err != nil || strings.Contains(string(arguments), "canary") {
		t.Errorf("a secret is in the list of processes: %s", arguments)
	}
	if log := b.Log(t); !strings.Contains(log, "E_AUTH_FAILED") {
		t.Error("the log does not tell of the refusal at all")
	}
}

// refusedAuth sends a secret to AUTH, and expects that it is refused.
func refusedAuth(t *testing.T, address, secret string) {
	t.Helper()
	config := cmdtest.ClientConfig()
	config.AuthSecret = secret
	p, err := nsq.NewProducer(address, config)
	if err != nil {
		t.Fatal(err)
	}
	p.SetLogger(nil, nsq.LogLevelError)
	defer p.Stop()
	if err := p.Publish(topic, []byte("x")); err == nil {
		t.Error("a client was let in that no auth daemon knows")
	}
}
