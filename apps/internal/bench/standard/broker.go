package standard

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"brokerd/apps/internal/bench/load"
	"brokerd/cmd/child"
)

const (
	startWithin = 10 * time.Second
	stopWithin  = 60 * time.Second // nsqd writes thousands of topics down one by one
)

// start runs the binary with flags, in a new folder below dir, and returns once it answers. The caller ends it with stop.
func start(ctx context.Context, binary, dir string, flags []string) (*child.Broker, error) {
	b, err := child.NewBroker(binary, dir, flags...)
	if err != nil {
		return nil, err
	}
	b.Apart = true // it is stopped once the load has let go of it
	if err := b.Start(ctx, startWithin); err != nil {
		return nil, errors.Join(err, b.Discard())
	}
	return b, nil
}

// loaded is what the load is told of the broker.
func loaded(b *child.Broker) load.Broker {
	return load.Broker{TCP: b.TCP, HTTP: b.HTTP, DataPath: b.Data, PID: b.PID()}
}

// stop ends the broker, at once when it takes long, and removes its folder. How it ends is not what is measured.
func stop(b *child.Broker) error {
	_ = b.Stop(stopWithin)
	return b.Discard()
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
