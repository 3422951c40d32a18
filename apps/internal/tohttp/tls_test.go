package tohttp

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// TestTLS: a target's certificate must come from the system's authorities, or from those of the flag, unless that is waived.
func TestTLS(t *testing.T) {
	target := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(target.Close)
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: target.Certificate().Raw})
	if err := os.WriteFile(authorities, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o    options
		want outcome
	}{{options{}, failed}, {options{rootCA: authorities}, taken}, {options{insecure: true}, taken}} {
		test.o.workers, test.o.http = 1, newHTTPFlags(cmdtest.Patience)
		config, err := test.o.tlsConfig()
		if err != nil {
			t.Fatal(err)
		}
		r := requester{client: test.o.client(&plan{tls: config}), method: http.MethodPost, urls: []string{target.URL}, header: http.Header{}}
		what, err := r.send(t.Context(), 0, nsq.NewMessage(nsq.MessageID{}, []byte("x")))
		if what != test.want {
			t.Errorf("with authorities %q, waived %v: outcome %v, %v", test.o.rootCA, test.o.insecure, what, err)
		}
		r.client.CloseIdleConnections()
	}
	device := options{rootCA: os.DevNull}
	if _, err := device.tlsConfig(); err == nil || !strings.Contains(err.Error(), "--http-client-tls-root-ca-file") {
		t.Errorf("a device: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := options{rootCA: empty}
	if _, err := o.tlsConfig(); err == nil || !strings.Contains(err.Error(), "--http-client-tls-root-ca-file") {
		t.Errorf("a file without a certificate: %v", err)
	}
}
