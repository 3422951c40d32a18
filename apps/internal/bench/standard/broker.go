package standard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"brokerd/apps/internal/bench/load"
	"brokerd/protocol/httpapi"
)

// process is a broker that runs as a child, with its log and its data in a folder of its own.
type process struct {
	load.Broker
	dir     string
	command *exec.Cmd
	exited  chan struct{} // closed when the process ended
	exitErr error         // why, read after exited
}

const (
	startWithin = 10 * time.Second
	stopWithin  = 60 * time.Second // nsqd writes thousands of topics down one by one
)

// start runs the binary with flags, in a new folder below dir, and returns once it answers. The caller ends it with stop.
func start(ctx context.Context, binary, dir string, flags []string) (*process, error) {
	dir, err := os.MkdirTemp(dir, "bench-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, exited: make(chan struct{})}
	if err := p.launch(binary, flags); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", binary, err), os.RemoveAll(dir))
	}
	go func() {
		p.exitErr = p.command.Wait()
		close(p.exited)
	}()
	if err := p.await(ctx); err != nil {
		err = fmt.Errorf("waiting for %s: %w\n%s", binary, err, p.lastWords())
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *process) launch(binary string, flags []string) (err error) {
	if p.TCP, err = freeAddress(); err != nil {
		return err
	}
	if p.HTTP, err = freeAddress(); err != nil {
		return err
	}
	p.DataPath = filepath.Join(p.dir, "data")
	if err := os.Mkdir(p.DataPath, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	flags = append([]string{"--tcp-address=" + p.TCP, "--http-address=" + p.HTTP, "--data-path=" + p.DataPath}, flags...)
	p.command = exec.Command(binary, flags...)
	apart(p.command)
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		return err
	}
	p.PID = p.command.Process.Pid
	return nil
}

// await returns once the broker answers /ping.
func (p *process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: time.Second, RequestTimeout: 2 * time.Second})
	defer client.Close()
	for {
		if client.Get(ctx, "http://"+p.HTTP+"/ping", nil) == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.exited:
			return fmt.Errorf("it ended: %w", p.exitErr)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop ends the broker, at once when it takes long, and removes its folder.
func (p *process) stop() error {
	_ = p.command.Process.Signal(syscall.SIGTERM) // an error means that it is gone
	select {
	case <-p.exited:
	case <-time.After(stopWithin):
		_ = p.command.Process.Kill()
		<-p.exited
	}
	return os.RemoveAll(p.dir)
}

// lastWords returns the end of the broker's log.
func (p *process) lastWords() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// freeAddress returns a loopback address that nobody listens on at the moment.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// version is the first line that the binary prints for --version.
func version(ctx context.Context, binary string) (string, error) {
	text, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", binary, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line), nil
}
