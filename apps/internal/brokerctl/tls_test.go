//go:build unix

package brokerctl

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/apps/appkit"
	"brokerd/broker"
	"brokerd/protocol/grant"
	"brokerd/protocol/prototest"
)

// TestToolsOverTLS: with the files that flags, the environment or a context name, tools speak TLS with daemons that take nothing else, over HTTP
// and over TCP, show their certificate, which is a caller of the token file, and believe nobody whom another authority vouches for.
func TestToolsOverTLS(t *testing.T) {
	t.Parallel()
	a, other := prototest.NewAuthority(t), prototest.NewAuthority(t)
	served, key, ca := a.Files("daemon")
	a.Dir = t.TempDir()
	shown, shownKey, _ := a.Files("operator")
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("cert operator read,manage,publish,consume\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	app, err := grant.ParseGrants([]string{"read"})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := grant.Add(tokens, "reader", app, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	o := broker.DefaultOptions()
	o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress, o.DataPath = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", t.TempDir()
	o.TLSCert, o.TLSKey, o.TLSRootCAFile, o.TLSRequired, o.TokenFile = served, key, ca, broker.TLSRequired, tokens
	server, err := broker.New(o, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err == nil {
		err = server.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	config := t.TempDir()
	run := func(code int, line string, environ ...string) said {
		t.Helper()
		got := say(t, config, environ, strings.Fields(line)...)
		if got.code != code {
			t.Errorf("%s: %+v", line, got)
		}
		return got
	}
	at := " --nsqd-http-address=" + server.HTTPAddr().String()
	with := " --tls-root-ca-file=" + ca + " --tls-cert=" + shown + " --tls-key=" + shownKey
	if got := run(appkit.ExitFailed, "topic list"+at); !strings.Contains(got.errors, "certificate") {
		t.Errorf("without the authority: %s", got.errors)
	}
	if got := run(appkit.ExitFailed, "topic list"+at+" --tls-root-ca-file="+other.Write("other.pem", "CERTIFICATE", other.Root())); !strings.Contains(got.errors, "certificate") {
		t.Errorf("with another authority: %s", got.errors)
	}
	if got := run(appkit.ExitFailed, "topic create orders"+at+" --tls-root-ca-file="+ca); !strings.Contains(got.out+got.errors, "TOKEN_REQUIRED") {
		t.Errorf("without a certificate: %+v", got)
	}
	run(appkit.ExitOK, "topic create orders"+at+with)
	run(appkit.ExitOK, "channel create orders billing"+at+with)
	run(appkit.ExitOK, "topic list"+at, "BROKERCTL_TLS_ROOT_CA_FILE="+ca, "BROKERCTL_TOKEN="+reader)
	run(appkit.ExitOK, "context add safe --nsqd-tcp-address="+server.TCPAddr().String()+at+with)
	if got := run(appkit.ExitOK, "topic list"); got.out != "orders\n" {
		t.Errorf("by the context: %q", got.out)
	}
	run(appkit.ExitOK, "pub orders hello")
	if got := run(appkit.ExitOK, "sub orders/billing --n=1"); !strings.Contains(got.out, "hello") {
		t.Errorf("consumed: %q", got.out)
	}
	for line, want := range map[string]string{
		"topic list --tls-cert=" + shown:         "go together",
		"topic list --tls-root-ca-file=/nowhere": "--tls-root-ca-file: ",
		"topic list --tls-root-ca-file=" + tokens + " --tls-cert=" + shown + " --tls-key=" + shownKey: "holds no PEM certificate",
	} {
		if got := say(t, "", nil, strings.Fields(line+at)...); got.code != appkit.ExitUsage || !strings.Contains(got.errors, want) {
			t.Errorf("%s: %+v", line, got)
		}
	}
}
