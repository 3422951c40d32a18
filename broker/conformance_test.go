package broker_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

// door is one way into a broker that listens on TCP and on a unix socket.
type door struct {
	name                       string
	unix, tls, snappy, deflate bool
	files                      []string // nil: all that suit the broker
}

// doors are all ways in: the suites run over each of them. The last four are there to show that upgrades do not mind each other, nor
// the socket below; a part of the default suite is enough for that.
var doors = []door{
	{name: "tcp"},
	{name: "unix", unix: true},
	{name: "tls", tls: true},
	{name: "snappy", snappy: true},
	{name: "deflate", deflate: true},
	{name: "tls+snappy", tls: true, snappy: true, files: []string{"publish.txt", "subscribe.txt"}},
	{name: "tls+deflate", tls: true, deflate: true, files: []string{"publish.txt", "subscribe.txt"}},
	{name: "unix+tls+snappy", unix: true, tls: true, snappy: true, files: []string{"subscribe.txt"}},
	{name: "unix+deflate", unix: true, deflate: true, files: []string{"subscribe.txt"}},
}

// house is a broker behind all doors: it listens on TCP and on a unix socket beside that.
type house struct {
	*node
	authority *authority
	socket    string
}

// build starts the broker.
func build(t *testing.T, change func(*broker.Options)) *house {
	t.Helper()
	h := &house{authority: newAuthority(t), socket: unixPath(t, "v2.sock")}
	h.node = start(t, func(o *broker.Options) {
		h.authority.serve(o)
		o.UnixSocket = h.socket
		if change != nil {
			change(o)
		}
	})
	return h
}

func (h *house) transport(d door) prototest.Transport {
	tr := h.tcp()
	if d.unix {
		tr.Network, tr.Address = "unix", h.socket
	}
	tr.Snappy, tr.Deflate = d.snappy, d.deflate
	if d.tls {
		tr.TLS = h.authority.Client()
	}
	return tr
}

// TestConformance plays every command, check, error text and close of protocol V2 through every door.
func TestConformance(t *testing.T) {
	t.Parallel()
	h := build(t, nil)
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			prototest.Run(t, prototest.Target{Transport: h.transport(d), Files: d.files})
		})
	}
}

func TestConformanceLimits(t *testing.T) {
	t.Parallel()
	h := build(t, func(o *broker.Options) {
		o.MaxMsgSize, o.MaxBodySize, o.MaxRdyCount, o.MaxChannelConsumers = 100, 1000, 50, 1
	})
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			prototest.Run(t, prototest.Target{Transport: h.transport(d), Files: []string{"limits.txt"}, HTTP: h.url("")})
		})
	}
	if left := h.stats().Topics; len(left) != 0 {
		t.Errorf("the suite has left topics behind: %+v", left)
	}
}

func TestConformanceAuth(t *testing.T) {
	t.Parallel()
	daemon := httptest.NewServer(http.HandlerFunc(prototest.GrantBySecret))
	defer daemon.Close()
	h := build(t, func(o *broker.Options) { o.AuthHTTPAddresses = []string{daemon.Listener.Addr().String()} })
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			prototest.Run(t, prototest.Target{Transport: h.transport(d), Files: []string{"auth_on.txt"}})
		})
	}
	t.Cleanup(h.stop) // before the daemon goes
}

// TestConformanceTLSRequired: whoever does not speak TLS gets nothing done, through plain doors and compressed ones.
func TestConformanceTLSRequired(t *testing.T) {
	t.Parallel()
	for name, requirement := range map[string]broker.TLSRequirement{
		"true": broker.TLSRequired, "tcp-https": broker.TLSRequiredExceptHTTP,
	} {
		h := build(t, func(o *broker.Options) { o.TLSRequired = requirement })
		for _, d := range doors {
			if !d.tls {
				t.Run(name+"/"+d.name, func(t *testing.T) {
					prototest.Run(t, prototest.Target{Transport: h.transport(d), Files: []string{"tls_required.txt"}})
				})
			}
		}
		t.Run(name+"/tls", func(t *testing.T) {
			prototest.Run(t, prototest.Target{Transport: h.transport(door{tls: true}), Files: []string{"subscribe.txt"}})
		})
	}
}
