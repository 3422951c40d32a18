package demo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"brokerd/cmd/child"
	"brokerd/protocol/httpapi"
)

// Tests wait longer.
var (
	startWithin = 10 * time.Second
	stopWithin  = 30 * time.Second
)

// broker is a brokerd that runs as a child of the demo, with its log and its data in a temporary folder.
type broker struct {
	*child.Broker
	client *httpapi.HTTPClient
}

// startBroker starts the binary and returns once it answers. The broker ends with stop or discard.
func startBroker(ctx context.Context, binary string) (*broker, error) {
	// A line of a binary file can be longer than the megabyte that a message may have by default.
	process, err := child.NewBroker(binary, "", "--max-msg-size=16777216", "--max-body-size=20971520")
	if err != nil {
		return nil, err
	}
	if err := process.Start(ctx, startWithin); err != nil {
		return nil, errors.Join(err, process.Discard())
	}
	return &broker{process, httpapi.NewHTTPClient(httpapi.ClientConfig{
		ConnectTimeout: patience, RequestTimeout: patience,
	})}, nil
}

// awaitLook waits for the time to look at the broker again. It fails when ctx has ended, or the broker has.
func (b *broker) awaitLook(ctx context.Context, look <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-b.Exited():
		_, err := b.End()
		return fmt.Errorf("the broker ended: %v\n%s", err, b.LastWords())
	case <-look:
		return nil
	}
}

// create makes the topic and its channels, so that each channel is there before the first message.
func (b *broker) create(ctx context.Context, topic string, channels []string) error {
	address := "http://" + b.HTTP + "/%s/create?topic=" + url.QueryEscape(topic)
	if err := b.client.Post(ctx, fmt.Sprintf(address, "topic"), nil, nil); err != nil {
		return fmt.Errorf("creating topic %s: %w", topic, err)
	}
	keep := map[string]string{"retain_time": "24h"} // for the second act
	if err := b.client.Post(ctx, "http://"+b.HTTP+"/topic/config?topic="+url.QueryEscape(topic), keep, nil); err != nil {
		return fmt.Errorf("having topic %s keep its messages: %w", topic, err)
	}
	for _, channel := range channels {
		if err := b.client.Post(ctx, fmt.Sprintf(address, "channel")+"&channel="+url.QueryEscape(channel), nil, nil); err != nil {
			return fmt.Errorf("creating channel %s: %w", channel, err)
		}
	}
	return nil
}

// createAt makes a channel that begins at a place, and returns how many messages wait there.
func (b *broker) createAt(ctx context.Context, topic, channel, place string) (messages int, err error) {
	var m httpapi.Moved
	q := url.Values{"topic": {topic}, "channel": {channel}, "start": {place}}
	if err := b.client.Post(ctx, "http://"+b.HTTP+"/channel/create?"+q.Encode(), nil, &m); err != nil {
		return 0, fmt.Errorf("creating channel %s: %w", channel, err)
	}
	return m.Messages, nil
}

// stats asks the broker about one topic.
func (b *broker) stats(ctx context.Context, topic string) (httpapi.Topic, error) {
	var stats httpapi.Stats
	address := "http://" + b.HTTP + "/stats?format=json&include_clients=false&include_mem=false&topic=" + url.QueryEscape(topic)
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
	return errors.Join(b.Stop(stopWithin), b.discard())
}

// discard kills the broker if it still runs, and removes its folder. It may be called more than once.
func (b *broker) discard() error {
	b.client.Close()
	return b.Discard()
}
