package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"brokerd/protocol/httpapi"
)

// broker is a brokerd that runs as a child of the demo, with its log and its data in a temporary folder.
type broker struct {
	tcp, http string // addresses
	dir       string
	log       *os.File
	process   *exec.Cmd
	client    *httpapi.HTTPClient
	exited    chan struct{} // closed when the process ended
	exitErr   error         // why, read after exited
}

// startBroker starts the binary and returns once it answers. The broker ends with stop or discard.
func startBroker(ctx context.Context, binary string) (*broker, error) {
	dir, err := os.MkdirTemp("", "brokerd-demo-")
	if err != nil {
		return nil, err
	}
	b := &broker{dir: dir, exited: make(chan struct{}), client: httpapi.NewHTTPClient(httpapi.ClientConfig{
		ConnectTimeout: 2 * time.Second, RequestTimeout: 10 * time.Second,
	})}
	if err := b.launch(binary); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", binary, err), os.RemoveAll(dir))
	}
	go func() {
		b.exitErr = b.process.Wait()
		close(b.exited)
	}()
	if err := b.await(ctx); err != nil {
		err = fmt.Errorf("waiting for %s: %w\n%s", binary, err, b.lastWords())
		b.discard()
		return nil, err
	}
	return b, nil
}

func (b *broker) launch(binary string) (err error) {
	if b.tcp, err = freeAddress(); err != nil {
		return err
	}
	if b.http, err = freeAddress(); err != nil {
		return err
	}
	data := filepath.Join(b.dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		return err
	}
	if b.log, err = os.Create(filepath.Join(b.dir, "log")); err != nil {
		return err
	}
	// A line of a binary file can be longer than the megabyte that a message may have by default.
	b.process = exec.Command(binary, "--tcp-address="+b.tcp, "--http-address="+b.http, "--data-path="+data,
		"--max-msg-size=16777216", "--max-body-size=20971520")
	b.process.Stdout, b.process.Stderr = b.log, b.log
	return b.process.Start()
}

// await returns once the broker answers /ping, and with an error when it ended or ten seconds have passed.
func (b *broker) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		if b.client.Get(ctx, "http://"+b.http+"/ping", nil) == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-b.exited:
			return fmt.Errorf("it ended: %w", b.exitErr)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// create makes the topic and its channels, so that each channel is there before the first message.
func (b *broker) create(ctx context.Context, topic string, channels []string) error {
	address := "http://" + b.http + "/%s/create?topic=" + url.QueryEscape(topic)
	if err := b.client.Post(ctx, fmt.Sprintf(address, "topic"), nil, nil); err != nil {
		return fmt.Errorf("creating topic %s: %w", topic, err)
	}
	for _, channel := range channels {
		if err := b.client.Post(ctx, fmt.Sprintf(address, "channel")+"&channel="+url.QueryEscape(channel), nil, nil); err != nil {
			return fmt.Errorf("creating channel %s: %w", channel, err)
		}
	}
	return nil
}

// stats asks the broker about one topic.
func (b *broker) stats(ctx context.Context, topic string) (httpapi.Topic, error) {
	var stats httpapi.Stats
	address := "http://" + b.http + "/stats?format=json&include_clients=false&include_mem=false&topic=" + url.QueryEscape(topic)
	if err := b.client.Get(ctx, address, &stats); err != nil {
		return httpapi.Topic{}, fmt.Errorf("asking the broker for its figures: %w", err)
	}
	if len(stats.Topics) != 1 {
		return httpapi.Topic{}, fmt.Errorf("the broker told of %d topics, asked for one", len(stats.Topics))
	}
	return stats.Topics[0], nil
}

// stop ends the broker as an operator would, and returns an error if it did not leave in good order.
func (b *broker) stop() error {
	defer b.discard()
	if err := b.process.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the broker: %w", err)
	}
	select {
	case <-b.exited:
	case <-time.After(30 * time.Second):
		return errors.New("the broker did not stop within 30 seconds")
	}
	if b.exitErr != nil {
		return fmt.Errorf("the broker ended: %w\n%s", b.exitErr, b.lastWords())
	}
	return nil
}

// discard kills the broker if it still runs, and removes its folder. It may be called more than once.
func (b *broker) discard() {
	b.process.Process.Kill() // an error means that it is gone
	<-b.exited
	b.client.Close()
	b.log.Close()
	os.RemoveAll(b.dir)
}

// lastWords returns the end of the broker's log.
func (b *broker) lastWords() string {
	text, err := os.ReadFile(b.log.Name())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// freeAddress returns a loopback address that nobody listens on at the moment.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
