package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/lookup"
	"brokerd/protocol/prototest"
)

// TestLookupsOverTLS: a broker shows its certificate to a lookup that takes nothing else, registers by it, and asks for a new topic's channels
// over HTTPS. A lookup that another authority vouches for is told nothing.
func TestLookupsOverTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	f := newTokens(t, "cert broker manage,read")
	startLookup := func(files *prototest.Authority) *lookup.Server {
		o := lookup.DefaultOptions()
		o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"
		o.TLSRequired, o.TLSClientAuthPolicy, o.TokenFile = true, "require-verify", f.path
		o.TLSCert, o.TLSKey, _ = files.Files("lookup")
		_, _, o.TLSRootCAFile = a.Files("broker") // who may come is a's matter in both cases
		l, err := lookup.New(o, slog.New(slog.DiscardHandler))
		if err == nil {
			err = l.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return l
	}
	ours, theirs := startLookup(a.Authority), startLookup(prototest.NewAuthority(t))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: a.Client(a.Issue("broker"))}}
	defer client.CloseIdleConnections()
	ask := func(method, path string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+ours.HTTPSAddr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := ask("POST", "/channel/create?topic=elsewhere&channel=c"); got != http.StatusOK {
		t.Fatal(got)
	}
	n := start(t, func(o *broker.Options) {
		a.serve(o)
		o.LookupdTLS, o.LookupdTCPAddresses = true, []string{ours.TCPAddr().String(), theirs.TCPAddr().String()}
	})
	n.publish("elsewhere", "x")
	eventually(t, "the broker has not learnt the channel", func() bool { return n.channel("elsewhere", "c") != nil })
	eventually(t, "the broker is not registered", func() bool { return ask("GET", "/lookup?topic=elsewhere") == http.StatusOK })
	eventually(t, "ours is told, and a lookup of another authority is not", func() bool {
		got := n.get("/metrics")
		return strings.Contains(got, fmt.Sprintf("{lookup=%q} 0", theirs.TCPAddr())) && strings.Contains(got, fmt.Sprintf("{lookup=%q} 1", ours.TCPAddr()))
	})
}
