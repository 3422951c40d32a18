package interop

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// dialogues are brokers that are set up in some way, and the scripts that are played to them.
var dialogues = []struct {
	name  string
	flags func(t *testing.T) []string
	files []string
	shut  bool // to plain HTTP
}{
	{"default", nil, append(prototest.Default(), prototest.HTTP()...), false},
	{"limits", func(*testing.T) []string {
		return []string{"--max-msg-size=100", "--max-body-size=1000", "--max-rdy-count=50", "--max-channel-consumers=1"}
	}, []string{"limits.txt"}, false},
	{"auth", func(t *testing.T) []string { return []string{"--auth-http-address=" + authDaemon(t)} }, []string{"auth_on.txt"}, false},
	{"tls required", func(t *testing.T) []string { return append(certificate(t), "--tls-required=true") }, []string{"tls_required.txt"}, true},
	{"tls required except for HTTP", func(t *testing.T) []string { return append(certificate(t), "--tls-required=tcp-https") },
		[]string{"tls_required.txt"}, false},
}

// TestDialogues plays the same scripts to nsqd and to brokerd: frames, closings, statuses and bodies of HTTP, statistics. Where the
// two differ, the script says so by a name.
func TestDialogues(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"brokerd", "nsqd"} {
		for _, d := range dialogues {
			t.Run(name+"/"+d.name, func(t *testing.T) {
				var flags []string
				if d.flags != nil {
					flags = d.flags(t)
				}
				b := cmdtest.NewBroker(t, name, t.TempDir(), flags...)
				url := "http://" + b.HTTP
				if d.shut {
					b.HTTP, url = "", "" // it answers no /ping
				}
				b.Start(t)
				cmdtest.Eventually(t, "it is listened on "+b.TCP, 10*time.Second, func() bool { return listens(b.TCP) })
				for how, transport := range map[string]prototest.Transport{"plain": {}, "snappy": {Snappy: true}, "deflate": {Deflate: true}} {
					transport.Network, transport.Address = "tcp", b.TCP
					t.Run(how, func(t *testing.T) {
						prototest.Run(t, prototest.Target{Transport: transport, Files: d.files, HTTP: url, NSQ: name == "nsqd"})
					})
				}
			})
		}
	}
}

// TestLookupDialogues does the same with nsqlookupd and lookupd.
func TestLookupDialogues(t *testing.T) {
	for _, name := range []string{"lookupd", "nsqlookupd"} {
		t.Run(name, func(t *testing.T) {
			l := cmdtest.Lookup(t, name)
			prototest.Run(t, prototest.Target{Transport: prototest.Transport{Network: "tcp", Address: l.TCP}, Files: []string{"lookup.txt"},
				HTTP: "http://" + l.HTTP, NSQ: name == "nsqlookupd"})
		})
	}
}

// TestDifferencesAreExplained: each that a script names stands in docs/COMPATIBILITY.md, with its reason.
func TestDifferencesAreExplained(t *testing.T) {
	names, err := prototest.Differences()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		explained(t, name)
	}
}

// explained demands a row of docs/COMPATIBILITY.md for a difference.
func explained(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "COMPATIBILITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "| `"+name+"` |") {
		t.Errorf("docs/COMPATIBILITY.md has no row for %s", name)
	}
}

func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	return err == nil && conn.Close() == nil
}

// authDaemon starts the auth daemon that auth_on.txt asks for, and returns its address.
func authDaemon(t *testing.T) string {
	t.Helper()
	daemon := httptest.NewServer(http.HandlerFunc(prototest.GrantBySecret))
	t.Cleanup(daemon.Close)
	return daemon.Listener.Addr().String()
}

// certificate writes a certificate and its key down, and returns the flags that name them.
func certificate(t *testing.T) []string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for flag, block := range map[string]*pem.Block{"--tls-cert": {Type: "CERTIFICATE", Bytes: cert}, "--tls-key": {Type: "PRIVATE KEY", Bytes: key}} {
		path := filepath.Join(t.TempDir(), "pem")
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, flag+"="+path)
	}
	return append(flags, "--https-address=127.0.0.1:0")
}
