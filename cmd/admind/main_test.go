package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"brokerd/admin"
	"brokerd/cmd/cmdkit"
	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
	"brokerd/protocol/release"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestEverySource takes each key of nsqadmin's file, some of them overridden.
func TestEverySource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nsqadmin.toml")
	text := `
		verbose = true
		log_level = "debug"
		log_prefix = "[admin] "
		http_address = "127.0.0.1:5171"
		base_path = "/nsq"
		dev_static_dir = "static"
		graphite_url = "http://graphite:80"
		proxy_graphite = true
		statsd_counter_format = "c.%s"
		statsd_gauge_format = "g.%s"
		statsd_prefix = "p.%s"
		statsd_interval = 30000
		notification_http_endpoint = "http://notify:80/"
		http_client_connect_timeout = "1s"
		http_client_request_timeout = 3000
		http_client_tls_insecure_skip_verify = true
		http_client_tls_root_ca_file = "ca"
		http_client_tls_cert = "cert"
		http_client_tls_key = "key"
		allow_config_from_cidr = "10.0.0.0/8"
		acl_http_header = "X-User"
		nsqlookupd_http_addresses = ["a:4161", "b:4161"]
		admin_users = "alice,bob"
	`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := admin.DefaultOptions()
	args := []string{"-config", path, "-http-address", "127.0.0.1:6171", "-admin-user", "carol", "-admin-user=dave"}
	env := map[string]string{"ADMIND_HTTP_ADDRESS": "127.0.0.1:7171", "ADMIND_VIEWER_USER": "*", "ADMIND_LOG_LEVEL": "WARN",
		"ADMIND_LOOKUPD_HTTP_ADDRESS": "c:4161, d:4161"}
	_, err := program(&got).Configure(cmdtest.Told(args, env))
	want := admin.DefaultOptions()
	o := &want
	o.HTTPAddress, o.BasePath, o.DevStaticDir = "127.0.0.1:6171", "/nsq", "static"
	o.GraphiteURL, o.ProxyGraphite, o.StatsdCounterFormat, o.StatsdGaugeFormat, o.StatsdPrefix = "http://graphite:80", true, "c.%s", "g.%s", "p.%s"
	o.StatsdInterval, o.NotificationEndpoint, o.ConnectTimeout, o.RequestTimeout = 30*time.Second, "http://notify:80/", time.Second, 3*time.Second
	o.TLSInsecure, o.TLSRootCAFile, o.ClientTLSCert, o.ClientTLSKey = true, "ca", "cert", "key"
	o.ConfigCIDR, o.ACLHeader, o.LogLevel, o.LogPrefix = "10.0.0.0/8", "X-User", "WARN", "[admin] "
	o.LookupdHTTPAddresses, o.AdminUsers, o.ViewerUsers = []string{"c:4161", "d:4161"}, []string{"carol", "dave"}, []string{"*"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v\nerror %v", got, want, err)
	}
}

// TestEveryVariableCounts.
func TestEveryVariableCounts(t *testing.T) {
	configured := func(env map[string]string) (any, error) {
		o := admin.DefaultOptions()
		_, err := program(&o).Configure(cmdtest.Told(nil, env))
		return o, err
	}
	var names []string
	for _, s := range program(new(admin.Options)).Settings {
		if s.Name != "nsqd-http-address" && s.Name != "users-file" { // not beside others: below
			names = append(names, s.Name)
		}
	}
	cmdtest.EveryVariable(t, "ADMIND_", names, map[string]string{"ADMIND_LOOKUPD_HTTP_ADDRESS": "l:4161", "ADMIND_TLS_CERT": "c", "ADMIND_TLS_KEY": "k",
		"ADMIND_HTTP_CLIENT_TLS_CERT": "c", "ADMIND_HTTP_CLIENT_TLS_KEY": "k", "ADMIND_ADMIN_USER": "u", "ADMIND_GRAPHITE_URL": "http://g/"}, configured)
	o, err := configured(map[string]string{"ADMIND_NSQD_HTTP_ADDRESS": "b:4151", "ADMIND_USERS_FILE": "users"})
	if o := o.(admin.Options); err != nil || !reflect.DeepEqual(o.NSQDHTTPAddresses, []string{"b:4151"}) || o.UsersFile != "users" {
		t.Errorf("%q, %q, %v", o.NSQDHTTPAddresses, o.UsersFile, err)
	}
}

// TestDefaults: those of nsqadmin are kept.
func TestDefaults(t *testing.T) {
	code, help, _ := cmdtest.Call(run, []string{"--help"}, nil)
	for _, want := range []string{`(default "0.0.0.0:4171")`, `(default 2s)`, `(default 5s)`, `(default "127.0.0.1/8")`, `(default "X-Forwarded-User")`,
		`(default "stats.counters.%s.count")`, `(default "stats.gauges.%s")`, `(default "nsq.%s")`, `(default 1m)`, "ADMIND_LOG_LEVEL",
		"admind user add USERS-FILE NAME ROLE"} {
		if !strings.Contains(strings.Join(strings.Fields(help), " "), want) {
			t.Errorf("--help does not say %s", want)
		}
	}
	if code != cmdkit.ExitOK {
		t.Errorf("code %d", code)
	}
}

func TestWrongOptionsAreOneLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // part of the line
	}{
		{nil, "--nsqd-http-address or --lookupd-http-address required"},
		{[]string{"--nsqd-http-address=a:1", "--lookupd-http-address=b:1"}, "use --nsqd-http-address or --lookupd-http-address not both"},
		{[]string{"--statsd-interval=long"}, `--statsd-interval must be a duration such as 250ms, 60s or 1h30m, not "long" (from the flag)`},
		{[]string{"--nsqd-http-address=a:1", "--shutdown-timeout=0s"}, `--shutdown-timeout must be more than 0, not "0s" (from the flag)`},
		{[]string{"--nsqd-http-address=a:1", "--log-level=loud"}, "loud"},
		{[]string{"user", "remove", "f", "n", "viewer"}, `there is add, not "remove"`},
	} {
		code, stdout, stderr := cmdtest.Call(run, c.args, nil)
		if code == cmdkit.ExitOK || stdout != "" || !strings.HasPrefix(stderr, "admind") || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: code %d, stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := cmdtest.Call(run, []string{"-version"}, nil)
	if want := "admind " + release.This().String() + "\n"; code != cmdkit.ExitOK || stdout != want || stderr != "" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestASignalEndsItWithCode0(t *testing.T) {
	daemon := cmdtest.RunInside(t, func(out io.Writer, signals <-chan os.Signal) int {
		proc := cmdtest.Told([]string{"--http-address=127.0.0.1:0", "--nsqd-http-address=127.0.0.1:1"}, nil)
		proc.Stderr, proc.Signals = out, signals
		return run(proc)
	})
	cmdtest.Eventually(t, "it serves", 10*time.Second, func() bool { // in the words of NSQ's daemons, for harnesses that wait for them
		return strings.Contains(daemon.String(), `"HTTP: listening on 127.0.0.1:`)
	})
	daemon.Stop(t)
	if log := daemon.String(); strings.Contains(log, "level=ERROR") || !strings.Contains(log, "url=http://127.0.0.1:") {
		t.Errorf("log %s", log)
	}
}

func TestAnAddressThatCannotBeBoundIsOneFatalLine(t *testing.T) {
	// 192.0.2.0/24 is for documentation: no machine has such an address.
	code, _, stderr := cmdtest.Call(run, []string{"--http-address=192.0.2.1:4171", "--nsqd-http-address=127.0.0.1:1"}, nil)
	if code != cmdkit.ExitFailed || strings.Count(stderr, "\n") != 2 || strings.Count(stderr, "level=FATAL") != 1 {
		t.Errorf("code %d, stderr %s", code, stderr)
	}
}

// TestAddingAUser: the password comes from stdin, never from the arguments, and its line's end does not belong to it.
func TestAddingAUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := out.WriteString("a good password\r\nand more\n"); err != nil {
		t.Fatal(err)
	}
	out.Close()
	var said bytes.Buffer
	if err := userVerb(in, &said).Run([]string{"add", path, "alice", "operator"}, &said); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "alice:$2a$12$") || !strings.HasSuffix(string(text), ":operator\n") {
		t.Errorf("%v: %s", err, text)
	}
	if want := "alice is in " + path + " as operator\n"; said.String() != want {
		t.Errorf("said %q, want %q", said.String(), want)
	}
	empty, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	empty.Close()
	if err := userVerb(empty, &said).Run([]string{"add", path, "bob", "viewer"}, &said); err == nil {
		t.Error("a user without a password was added")
	}
}
