package interop

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// endsWithin is how long a process that ends by itself may take.
const endsWithin = 20 * time.Second

// TestExitCodes: with what a broker ends that is told something, by its arguments, its folder or a signal.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name    string
		flags   func(t *testing.T, taken *cmdtest.Process) []string
		nsqd    int
		brokerd int
		differs string // the row of docs/COMPATIBILITY.md
	}{
		{"version", just("--version"), 0, 0, ""},
		{"version, one dash", just("-version"), 0, 0, ""},
		{"help", just("--help"), 0, 0, ""},
		{"an unknown flag", just("--nothing"), 2, 2, ""},
		{"a value that is no number", just("--mem-queue-size=many"), 2, 2, ""},
		{"a value that is no duration", just("--msg-timeout=60"), 2, 2, ""},
		{"a value out of range", just("--max-deflate-level=12"), 1, 2, "exit-usage"},
		{"a node id out of range", just("--node-id=1024"), 1, 2, "exit-usage"},
		{"TLS demanded without a certificate", just("--tls-required=true"), 1, 2, "exit-usage"},
		{"a file that is not there", just("--config=/nowhere/at.toml"), 1, 2, "exit-usage"},
		{"a certificate that is not there", just("--tls-cert=/nowhere/cert", "--tls-key=/nowhere/key"), 1, 1, ""},
		{"an address that is taken", func(_ *testing.T, taken *cmdtest.Process) []string { return []string{"--tcp-address=" + taken.TCP} }, 1, 1, ""},
		{"an HTTP address that is taken", func(_ *testing.T, taken *cmdtest.Process) []string { return []string{"--http-address=" + taken.HTTP} },
			1, 1, ""},
		{"a folder that is taken", func(_ *testing.T, taken *cmdtest.Process) []string { return []string{"--data-path=" + taken.Data} }, 1, 1, ""},
		{"a list of topics that cannot be read", func(t *testing.T, _ *cmdtest.Process) []string {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "nsqd.dat"), []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"--data-path=" + dir}
		}, 1, 1, ""},
	} {
		for name, want := range map[string]int{"nsqd": c.nsqd, "brokerd": c.brokerd} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				taken := cmdtest.NewBroker(t, name, t.TempDir())
				taken.Start(t)
				flags := append([]string{"--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--data-path=" + t.TempDir()}, c.flags(t, taken)...)
				if got := cmdtest.Tool(t, name, flags...).Wait(t, endsWithin); got != want {
					t.Errorf("exit code %d, want %d", got, want)
				}
				if c.differs != "" {
					explained(t, c.differs)
				}
			})
		}
	}
}

func just(flags ...string) func(*testing.T, *cmdtest.Process) []string {
	return func(*testing.T, *cmdtest.Process) []string { return flags }
}

// TestSignals: SIGTERM and SIGINT end in order with code 0, and after SIGKILL the same folder and addresses can be used at once,
// those of unix sockets where it is ours.
func TestSignals(t *testing.T) {
	for _, name := range []string{"nsqd", "brokerd"} {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
			t.Run(name+"/"+signal.String(), func(t *testing.T) {
				b := cmdtest.NewBroker(t, name, t.TempDir())
				if name == "brokerd" {
					b.Args = append(b.Args, "--unix-socket="+filepath.Join(t.TempDir(), "s"))
				}
				want := 0
				if signal == syscall.SIGKILL {
					want = -1
				}
				ended := func() int {
					b.Start(t)
					b.Signal(t, signal)
					return b.Wait(t, endsWithin)
				}
				for range 3 {
					code := ended()
					for name == "nsqd" && code == -1 && want == 0 { // it answers a moment before it heeds signals
						code = ended()
					}
					if code != want {
						t.Errorf("exit code %d, want %d", code, want)
					}
				}
			})
		}
	}
}
