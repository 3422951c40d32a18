package child

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/leaktest"
)

// TestMain lets the test's binary be the child: its first argument says of what kind.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch kind, address := os.Args[1], os.Args[2]; kind {
		case "daemon", "deaf":
			serve(kind == "deaf", address)
		case "parent":
			beParent(address)
		case "broken":
			fmt.Fprintln(os.Stderr, "no luck")
			os.Exit(3)
		}
	}
	leaktest.Main(m)
}

// serve answers until a signal asks for an end, and ends then with 0; the deaf do not hear it.
func serve(deaf bool, address string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "listening on", address)
	go http.ListenAndServe(address, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	<-signals
	if deaf {
		select {}
	}
	fmt.Println("bye")
	os.Exit(0)
}

// newChild prepares this binary as a child of the kind.
func newChild(t *testing.T, kind string) *Process {
	t.Helper()
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &Process{Path: os.Args[0], Args: []string{kind, address}, Ping: "http://" + address + "/ping",
		Stdout: filepath.Join(dir, "stdout"), Log: filepath.Join(dir, "log")}
	t.Cleanup(p.Kill)
	return p
}

func answers(p *Process) bool {
	c, err := net.Dial("tcp", p.Args[1])
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestStartStopAndStartAgain(t *testing.T) {
	p := newChild(t, "daemon")
	if p.Running() {
		t.Error("it runs before it is started")
	}
	for range 2 {
		if err := p.Start(t.Context(), 2*time.Minute); err != nil {
			t.Fatal(err)
		}
		if !p.Running() || !answers(p) {
			t.Error("it was started and is not there")
		}
		if err := p.Stop(2 * time.Minute); err != nil {
			t.Error(err)
		}
		if code, err := p.End(); code != 0 || err != nil || p.Running() || answers(p) {
			t.Errorf("stopped, it ended with %d, %v; running is %v", code, err, p.Running())
		}
	}
	out, err := os.ReadFile(p.Stdout)
	if string(out) != "bye\nbye\n" || err != nil || strings.Count(p.LastWords(), "listening on") != 2 {
		t.Errorf("of two lives there is %q, %v, and the log %q", out, err, p.LastWords())
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a signal to nobody: %v", err)
	}
}

func TestKilled(t *testing.T) {
	p := newChild(t, "daemon")
	p.Kill() // nobody
	if err := p.Start(t.Context(), 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if code, err := p.End(); code != -1 || err == nil || answers(p) {
		t.Errorf("killed, it ended with %d, %v", code, err)
	}
}

// TestAStartThatFailsLeavesNothing: of one that ends by itself, and of one that does not answer in time.
func TestAStartThatFailsLeavesNothing(t *testing.T) {
	broken := newChild(t, "broken")
	if err := broken.Start(t.Context(), 2*time.Minute); err == nil || !strings.Contains(err.Error(), "no luck") || broken.Running() {
		t.Errorf("one that ends at once: %v", err)
	}
	silent := newChild(t, "daemon")
	silent.Ping = "http://127.0.0.1:1/ping"
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := silent.Start(ctx, 2*time.Minute); !errors.Is(err, context.DeadlineExceeded) || silent.Running() {
		t.Errorf("one that does not answer: %v", err)
	}
	nobody := newChild(t, "daemon")
	nobody.Path = filepath.Join(t.TempDir(), "none")
	if err := nobody.Start(t.Context(), 2*time.Minute); !errors.Is(err, os.ErrNotExist) || nobody.Running() {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestOneThatDoesNotStopIsKilled(t *testing.T) {
	p := newChild(t, "deaf")
	if err := p.Start(t.Context(), 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(50 * time.Millisecond); !errors.Is(err, ErrSlow) || p.Running() {
		t.Errorf("stopping it: %v", err)
	}
}

func TestABrokerHasAFolderToItself(t *testing.T) {
	dir := t.TempDir()
	b, err := NewBroker(os.Args[0], dir, "--extra")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"--tcp-address=" + b.TCP, "--http-address=" + b.HTTP, "--data-path=" + b.Data, "--extra"}
	if fmt.Sprint(b.Args) != fmt.Sprint(want) || b.TCP == b.HTTP || !strings.HasPrefix(b.Data, dir) {
		t.Errorf("%q", b.Args)
	}
	for range 2 {
		if err := b.Discard(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestAddressesAreGivenOutOnce(t *testing.T) {
	seen := make(map[string]bool)
	for range 200 {
		address, err := FreeAddress()
		if err != nil || seen[address] {
			t.Fatalf("%s a second time, or %v", address, err)
		}
		seen[address] = true
	}
	for _, b := range addresses.held { // as another process that begins to look there
		if c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", b.first)); err == nil {
			c.Close()
			t.Errorf("the block of port %d could be taken twice", b.first)
		}
	}
}

// beParent starts a daemon, says so, and never ends by itself.
func beParent(address string) {
	p := Process{Path: os.Args[0], Args: []string{"daemon", address}, Ping: "http://" + address + "/ping", Log: os.DevNull}
	if err := p.Start(context.Background(), 2*time.Minute); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("started")
	select {}
}

// startParent starts a process that starts a daemon, and returns once that answers.
func startParent(t *testing.T, address string) *exec.Cmd {
	t.Helper()
	parent := exec.Command(os.Args[0], "parent", address)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, len("started"))
	if n, err := out.Read(said); string(said[:n]) != "started" {
		t.Errorf("the parent said %q, %v", said[:n], err)
	}
	return parent
}
