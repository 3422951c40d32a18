package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"brokerd/protocol/httpapi"
)

// Process is a child that can be ended and started again. Its fields are read at each start. Its methods are for one goroutine,
// but for Exited, whose channel anybody may wait for.
type Process struct {
	Path   string // of the binary
	Args   []string
	Ping   string   // URL that it answers with 200 once it serves; empty where there is nothing to wait for
	Stdin  *os.File // nil is empty
	Stdout string   // file that its output is added to; empty is nowhere
	Log    string   // file that its error output is added to
	Apart  bool     // a terminal's Ctrl-C reaches this process only, which then ends the child

	command *exec.Cmd
	exited  chan struct{} // closed when command ended
	exitErr error         // why, read after exited
}

// Start runs the child, and returns once it answers. Where it fails, by its own end, after within or with ctx, no child is left,
// and the error holds the end of its log.
func (p *Process) Start(ctx context.Context, within time.Duration) error {
	if err := p.launch(); err != nil {
		return fmt.Errorf("start %s: %w", p.Path, err)
	}
	if p.Ping == "" {
		return nil
	}
	if err := p.await(ctx, within); err != nil {
		p.Kill()
		return fmt.Errorf("wait for %s to answer: %w\n%s", p.Path, err, p.LastWords())
	}
	return nil
}

func (p *Process) launch() error {
	log, err := appendTo(p.Log)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	p.command = exec.Command(p.Path, p.Args...)
	p.command.Stderr = log
	if p.Stdout != "" {
		out, err := appendTo(p.Stdout)
		if err != nil {
			return err
		}
		defer out.Close()
		p.command.Stdout = out
	}
	if p.Stdin != nil {
		p.command.Stdin = p.Stdin
	}
	tie(p.command, p.Apart)
	if err := p.command.Start(); err != nil {
		p.command = nil // nothing runs
		return err
	}
	p.exited = make(chan struct{})
	go func(command *exec.Cmd, exited chan struct{}) { // ends with the child, which Kill and Stop wait for
		p.exitErr = command.Wait()
		close(exited)
	}(p.command, p.exited)
	return nil
}

func appendTo(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// await returns once the child answers.
func (p *Process) await(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: time.Second, RequestTimeout: 5 * time.Second})
	defer client.Close()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for client.Get(ctx, p.Ping, nil) != nil {
		select {
		case <-again.C:
		case <-p.exited:
			return fmt.Errorf("it ended: %w", p.exitErr)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// PID returns the process id of the child that was started last.
func (p *Process) PID() int { return p.command.Process.Pid }

// Exited returns the channel that is closed when the child has ended; nil before the first start.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Running reports whether there is a child.
func (p *Process) Running() bool {
	if p.command == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// End returns how a child that has exited ended: its exit code, -1 for a signal, and nil when the code is 0.
func (p *Process) End() (code int, err error) {
	return p.command.ProcessState.ExitCode(), p.exitErr
}

// Signal sends a signal. It fails with os.ErrProcessDone when there is no child.
func (p *Process) Signal(signal os.Signal) error {
	if p.command == nil {
		return os.ErrProcessDone
	}
	return p.command.Process.Signal(signal)
}

// Kill ends the child without a word, if there is one, and waits until it is gone.
func (p *Process) Kill() {
	if p.command == nil {
		return
	}
	_ = p.Signal(syscall.SIGKILL) // an error means that it is gone
	<-p.exited
}

// ErrSlow is the error of a Stop that had to kill the child.
var ErrSlow = errors.New("it did not end when it was asked to, and was killed")

// Stop ends the child as an operator does, and kills it when that takes longer than within. The error says that it had to, or
// that the child did not end in good order.
func (p *Process) Stop(within time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", p.Path, err)
	}
	select {
	case <-p.exited:
	case <-time.After(within):
		p.Kill()
		return fmt.Errorf("stop %s within %v: %w\n%s", p.Path, within, ErrSlow, p.LastWords())
	}
	if p.exitErr != nil {
		return fmt.Errorf("stop %s: %w\n%s", p.Path, p.exitErr, p.LastWords())
	}
	return nil
}

// LastWords returns the end of the child's log.
func (p *Process) LastWords() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
