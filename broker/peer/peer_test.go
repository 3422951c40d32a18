package peer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is for what no test is about: handshakes on a machine with other work.
const patience = time.Minute

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFramesComeBack(t *testing.T) {
	var b []byte
	b = appendFrame(b, 16, 7, []byte("in "), nil, []byte("parts"))
	b = appendFrame(b, 255, 1<<32-1)
	if got, want := hex.EncodeToString(b), "0000000815124ba51000000007696e207061727473000000005282acaeffffffffff"; got != want {
		t.Errorf("the wire has changed: %s, want %s", got, want)
	}
	r := bytes.NewReader(b)
	f, err := readFrame(r, 100)
	if err != nil || f.kind != 16 || f.stream != 7 || string(f.payload) != "in parts" {
		t.Errorf("%+v, %v", f, err)
	}
	f, err = readFrame(r, 0)
	if err != nil || f.kind != 255 || f.stream != 1<<32-1 || len(f.payload) != 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := readFrame(r, 100); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	for i := 4; i < frameHeader+8; i++ { // a changed length may wait for more
		bad := bytes.Clone(b[:frameHeader+8])
		bad[i] ^= 0x10
		if _, err := readFrame(bytes.NewReader(bad), 100); !errors.Is(err, ErrFrame) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := readFrame(bytes.NewReader(b[:i]), 100); err == nil {
			t.Errorf("cut at %d: read", i)
		}
	}
	if _, err := readFrame(bytes.NewReader(b), 7); !errors.Is(err, ErrFrame) {
		t.Errorf("longer than is allowed: %v", err)
	}
}

// Whatever comes over a connection is a frame that is written again alike, or an error.
func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, 16, 7, []byte("payload")))
	f.Add(appendFrame(nil, 0, 0))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readFrame(bytes.NewReader(b), 1<<16)
		if err != nil {
			return
		}
		if again := appendFrame(nil, got.kind, got.stream, got.payload); !bytes.Equal(again, b[:len(again)]) {
			t.Fatalf("%x was read as %x", b, again)
		}
	})
}

func hello(folder string) Hello {
	return Hello{Cluster: "prod", Folder: folder, Starts: 3, Nonce: 9, Name: "node " + folder}
}

func anybody(Hello) error { return nil }

// shake has two ends make sure of each other over a pipe.
func shake(t *testing.T, a, b Hello, secretA, secretB []byte, judgeA, judgeB func(Hello) error) (sawA, sawB Hello, errA, errB error) {
	t.Helper()
	ca, cb := net.Pipe()
	defer ca.Close()
	defer cb.Close()
	var other sync.WaitGroup
	other.Go(func() {
		sawB, errB = handshake(cb, false, b, secretB, judgeB, patience)
		if errB != nil {
			cb.Close()
		}
	})
	sawA, errA = handshake(ca, true, a, secretA, judgeA, patience)
	if errA != nil {
		ca.Close()
	}
	other.Wait()
	return sawA, sawB, errA, errB
}

func TestHandshakeTellsWhoIsThere(t *testing.T) {
	a := hello("a")
	a.Lane = Log
	for _, secret := range [][]byte{nil, []byte("a secret")} {
		sawA, sawB, errA, errB := shake(t, a, hello("b"), secret, secret, anybody, anybody)
		if errA != nil || errB != nil || sawA.Folder != "b" || sawB.Folder != "a" || sawB.Lane != Log || sawA.Lane != Log || sawB.Starts != 3 || sawB.Nonce != 9 {
			t.Errorf("%+v, %+v, %v, %v", sawA, sawB, errA, errB)
		}
	}
}

// A handshake that is refused ends with the reason at both ends.
func TestHandshakeIsRefusedWithAReason(t *testing.T) {
	no := func(Hello) error { return fmt.Errorf("%w: nobody knows it", ErrRefused) }
	old := func(Hello) error { return &Refusal{Reason: "an old copy", Old: true, Lineage: 12} }
	secret := []byte("a secret")
	for name, c := range map[string]struct {
		secretA, secretB []byte
		judgeA, judgeB   func(Hello) error
		want             string
	}{
		"the dialler has another secret":  {[]byte("another"), secret, anybody, anybody, "does not know the cluster's secret"},
		"the dialler has none":            {nil, secret, anybody, anybody, "does not know the cluster's secret"},
		"the accepter has none":           {secret, nil, anybody, anybody, "does not know the cluster's secret"},
		"the dialler does not want it":    {secret, secret, no, anybody, "nobody knows it"},
		"the accepter does not want it":   {secret, secret, anybody, no, "nobody knows it"},
		"one says that it is an old copy": {secret, secret, anybody, old, "an old copy"},
	} {
		_, _, errA, errB := shake(t, hello("a"), hello("b"), c.secretA, c.secretB, c.judgeA, c.judgeB)
		for _, err := range []error{errA, errB} {
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		var r *Refusal
		if name == "one says that it is an old copy" && (!errors.As(errA, &r) || !r.Old || r.Lineage != 12) {
			t.Errorf("%s: %v", name, errA)
		}
	}
}

// What is no peer, or one of another version, is refused; nobody is judged who has not proven that he knows the secret.
func TestHandshakeWithWhatIsNoPeer(t *testing.T) {
	judged := func(Hello) error { t.Error("judged"); return nil }
	for name, say := range map[string][]byte{
		"another protocol": []byte("  V2" + strings.Repeat("x", 40)),
		"no JSON":          appendFrame(nil, kindHello, 0, []byte("hello")),
		"another version":  appendFrame(nil, kindHello, 0, []byte(`{"version":2,"folder":"x","random":"`+strings.Repeat("A", 43)+`="}`)),
		"no random bytes":  appendFrame(nil, kindHello, 0, []byte(`{"version":1,"folder":"x"}`)),
		"another frame":    appendFrame(nil, kindWelcome, 0),
		"a proof that is none": append(appendFrame(nil, kindHello, 0, []byte(`{"version":1,"folder":"x","random":"`+strings.Repeat("A", 43)+`="}`)),
			appendFrame(nil, kindProof, 0, make([]byte, 32))...),
		"too long": appendFrame(nil, kindHello, 0, make([]byte, maxHello+1)),
	} {
		ca, cb := net.Pipe()
		var other sync.WaitGroup
		other.Go(func() { _, _ = io.Copy(io.Discard, ca) })
		other.Go(func() { _, _ = ca.Write(say); time.AfterFunc(50*time.Millisecond, func() { ca.Close() }) })
		if _, err := handshake(cb, false, hello("b"), []byte("a secret"), judged, patience); err == nil {
			t.Errorf("%s: it is welcome", name)
		}
		cb.Close()
		other.Wait()
	}
}

// A proof is of this handshake and this side: one that was heard before is worth nothing.
func TestProofsCannotBeUsedAgain(t *testing.T) {
	secret, a, b := []byte("s"), []byte("hello a"), []byte("hello b")
	right := proof(secret, sideDialler, a, b)
	for name, p := range map[string][]byte{"other side": proof(secret, sideAccepter, a, b), "turned round": proof(secret, sideDialler, b, a),
		"another hello": proof(secret, sideDialler, []byte("hello c"), b), "cut elsewhere": proof(secret, sideDialler, []byte("hello ahello"), []byte(" b"))} {
		if bytes.Equal(p, right) {
			t.Errorf("%s: the same proof", name)
		}
	}
}

// A link measures how far the other is and how its clock differs, and a silent one is given up.
func TestLinkMeasuresAndNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, cb := net.Pipe()
		la, lb := newLink(ca, hello("b"), true), newLink(cb, hello("a"), true)
		var got []string
		var both sync.WaitGroup
		both.Go(func() { _ = la.run(func(Kind, uint32, []byte, bool) {}) })
		both.Go(func() {
			_ = lb.run(func(k Kind, s uint32, p []byte, _ bool) { got = append(got, fmt.Sprintf("%d %d %s", k, s, p)) })
		})
		for i := range 3 {
			fatal(t, la.send(soon, FirstFree, uint32(i), []byte("x")))
		}
		time.Sleep(time.Second)
		la.beat(time.Now())
		time.Sleep(time.Second)
		if d := la.distance(); !d.Known || d.RoundTrip < 0 || d.Offset != 0 {
			t.Errorf("%+v", d)
		}
		la.close()
		both.Wait()
		if fmt.Sprint(got) != "[16 0 x 16 1 x 16 2 x]" {
			t.Errorf("received %v", got)
		}
		if err := la.send(soon, FirstFree, 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("send over a closed link: %v", err)
		}
		silent, mute := net.Pipe()
		var reader sync.WaitGroup
		reader.Go(func() { _, _ = io.Copy(io.Discard, mute) })
		began := time.Now()
		if err := newLink(silent, hello("b"), true).run(func(Kind, uint32, []byte, bool) {}); err == nil || time.Since(began) != silence {
			t.Errorf("a silent link ended after %v: %v", time.Since(began), err)
		}
		mute.Close()
		reader.Wait()
	})
}

// Who takes what comes may be busy for longer than a link may be silent, as while a disk hangs: the link goes on, also with a frame of which a part
// was read before.
func TestALinkOutlivesWhoIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := newLink(ours, hello("b"), true)
		var got []uint32
		var loops sync.WaitGroup
		loops.Go(func() {
			_ = l.run(func(_ Kind, stream uint32, _ []byte, _ bool) {
				got = append(got, stream)
				time.Sleep(2 * silence)
			})
		})
		loops.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
		b := appendFrame(appendFrame(nil, FirstFree, 1, []byte("x")), FirstFree, 2, []byte("y"))
		for _, part := range [][]byte{b[:len(b)-1], b[len(b)-1:]} {
			if _, err := theirs.Write(part); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(5 * silence)
		l.close()
		theirs.Close()
		loops.Wait()
		if len(got) != 2 {
			t.Errorf("it has taken %v", got)
		}
	})
}

func TestLinkLosesRatherThanWaits(t *testing.T) {
	ca, cb := net.Pipe()
	defer cb.Close()
	l := newLink(ca, hello("b"), true) // nobody writes
	fatal(t, l.send(soon, FirstFree, 0, make([]byte, queueBytes-100)))
	if err := l.send(soon, FirstFree, 0, make([]byte, 200)); !errors.Is(err, ErrFull) {
		t.Errorf("into a full queue: %v", err)
	}
	if err := l.send(soon, FirstFree, 0, make([]byte, MaxFrame+1)); !errors.Is(err, ErrFrame) {
		t.Errorf("a frame that is too large: %v", err)
	}
	l.close()
}

// inbox collects what a node receives.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (in *inbox) take(folder string, lane Lane, kind Kind, stream uint32, payload []byte, _ bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.got = append(in.got, fmt.Sprintf("%s %v %d %d %s", folder, lane, kind, stream, payload))
}

func (in *inbox) has(n int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.got) >= n
}

// eventually fails unless something comes to hold.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	cmdtest.Eventually(t, what, patience, holds)
}

// pair starts two nodes that dial each other.
func pair(t *testing.T, change func(i int, o *Options)) (nodes [2]*Node, in [2]*inbox) {
	t.Helper()
	var addresses [2]string
	for i := range nodes {
		in[i] = &inbox{}
		o := Options{Self: hello(string(rune('a' + i))), Judge: anybody, Received: in[i].take, Redial: 5 * time.Millisecond, Handshake: patience}
		if change != nil {
			change(i, &o)
		}
		n, err := New(o)
		fatal(t, err)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		fatal(t, err)
		fatal(t, n.Serve(l))
		nodes[i], addresses[i] = n, l.Addr().String()
		t.Cleanup(n.Close)
	}
	nodes[0].Dial(addresses[1])
	nodes[1].Dial(addresses[0])
	return nodes, in
}

// Two nodes that dial each other have one link a lane, over which all comes in order, and again after it broke.
func TestNodesThatDialEachOther(t *testing.T) {
	for name, secret := range map[string][]byte{"on loopback": nil, "with a secret": []byte("s")} {
		nodes, in := pair(t, func(_ int, o *Options) { o.Secret = secret })
		eventually(t, name+": both are connected", func() bool { return len(nodes[0].Peers()) == 1 && len(nodes[1].Peers()) == 1 })
		eventually(t, name+": frames go both ways over both lanes", func() bool {
			ok := nodes[0].Send("b", Control, 20, 1, []byte("x")) == nil && nodes[1].Send("a", Log, 21, 2, []byte("y")) == nil
			return ok && in[0].has(1) && in[1].has(1)
		})
		if err := nodes[0].Send("c", Control, 20, 1); !errors.Is(err, ErrNoLink) {
			t.Errorf("to a stranger: %v", err)
		}
		if err := nodes[0].Send("b", Control, kindPing, 1); !errors.Is(err, ErrFrame) {
			t.Errorf("a frame of the link's own kind: %v", err)
		}
		nodes[0].mu.Lock()
		broken := nodes[0].links[end{"b", Control}]
		nodes[0].mu.Unlock()
		broken.close()
		eventually(t, name+": it is connected again", func() bool {
			nodes[0].mu.Lock()
			defer nodes[0].mu.Unlock()
			l := nodes[0].links[end{"b", Control}]
			return l != nil && l != broken
		})
		nodes[0].Close()
		eventually(t, name+": the other notices", func() bool { return len(nodes[1].Peers()) == 0 })
		nodes[1].Close()
	}
}

// The cluster's id is in each hello, and nobody of another cluster is let in; nor is a second process on one
// folder.
func TestNodesOfAnotherClusterOrWithTheSameFolderAreRefused(t *testing.T) {
	for name, change := range map[string]func(i int, o *Options){
		"another cluster": func(i int, o *Options) { o.Self.Cluster = fmt.Sprint("cluster ", i) },
		"no cluster yet":  func(i int, o *Options) { o.Self.Cluster = []string{"prod", ""}[i] },
		"the same folder": func(_ int, o *Options) { o.Self.Folder = "same" },
		"another secret":  func(i int, o *Options) { o.Secret = []byte{byte(i + 1)} },
		"who judges says no": func(_ int, o *Options) {
			o.Judge = func(Hello) error { return errors.New("no") }
		},
	} {
		refused := make(chan *Refusal, 1000)
		nodes, _ := pair(t, func(i int, o *Options) {
			change(i, o)
			o.Refused = func(r *Refusal) {
				select {
				case refused <- r:
				default:
				}
			}
		})
		if r := <-refused; r.Reason == "" {
			t.Errorf("%s: refused without a reason", name)
		}
		if len(nodes[0].Peers())+len(nodes[1].Peers()) > 0 {
			t.Errorf("%s: they are connected", name)
		}
		nodes[0].Close()
		nodes[1].Close()
	}
}

func TestWithoutTLSOrSecretOnlyLoopback(t *testing.T) {
	for _, secret := range [][]byte{nil, []byte("s")} {
		n, err := New(Options{Self: hello("a"), Judge: anybody, Received: new(inbox).take, Secret: secret})
		fatal(t, err)
		l, err := net.Listen("tcp", "0.0.0.0:0")
		fatal(t, err)
		if err := n.Serve(l); (secret == nil) != errors.Is(err, ErrInsecure) {
			t.Errorf("on every address, secret %q: %v", secret, err)
		}
		n.Close()
	}
	if _, err := New(Options{Self: hello("a"), Judge: anybody, Received: new(inbox).take, TLS: &tls.Config{}}); err == nil {
		t.Error("TLS without certificates of both sides is taken")
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a node that is nobody is taken")
	}
}

// authority issues certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(t, err)
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	b, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	fatal(t, err)
	cert, err := x509.ParseCertificate(b)
	fatal(t, err)
	return authority{cert, key}
}

// config is a node's, which trusts one authority and shows a certificate of another one.
func (a authority) config(t *testing.T, name string, shows authority) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(t, err)
	form := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	b, err := x509.CreateCertificate(rand.Reader, form, shows.cert, &key.PublicKey, shows.key)
	fatal(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, Certificates: []tls.Certificate{{Certificate: [][]byte{b}, PrivateKey: key}}}
}

// With TLS both show a certificate of the cluster's CA, which who judges sees; one of another CA is no peer.
func TestNodesWithTLS(t *testing.T) {
	ca, strange := newAuthority(t), newAuthority(t)
	var mu sync.Mutex
	names := map[string]string{}
	nodes, in := pair(t, func(i int, o *Options) {
		o.TLS = ca.config(t, o.Self.Name, ca)
		o.Judge = func(h Hello) error {
			mu.Lock()
			defer mu.Unlock()
			names[h.Name] = h.Certificate.PeerCertificates[0].Subject.CommonName
			return nil
		}
	})
	eventually(t, "frames go over TLS", func() bool { return nodes[0].Send("b", Log, 20, 1, []byte("x")) == nil && in[1].has(1) })
	mu.Lock()
	if names["node a"] != "node a" || names["node b"] != "node b" {
		t.Errorf("names in certificates %v", names)
	}
	mu.Unlock()
	nodes[0].Close()
	nodes[1].Close()

	var failed lines
	nodes, _ = pair(t, func(i int, o *Options) {
		o.Log = slog.New(slog.NewTextHandler(&failed, nil))
		o.TLS = ca.config(t, o.Self.Name, []authority{ca, strange}[i])
		o.Judge = func(Hello) error { t.Error("one without a certificate of the CA is judged"); return nil }
	})
	eventually(t, "both sides have tried", func() bool { return failed.count() >= 2 }) // each reason is logged once
	if len(nodes[0].Peers())+len(nodes[1].Peers()) > 0 {
		t.Error("they are connected")
	}
	nodes[0].Close()
	nodes[1].Close()
}

// lines counts what is logged.
type lines struct {
	mu sync.Mutex
	n  int
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return len(p), nil
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
