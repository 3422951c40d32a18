package demo

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nsqio/go-nsq"
)

// A batch is sent when it has so many messages, or so many bytes.
const (
	batchMessages = 500
	batchBytes    = 256 << 10
)

// published is what the producers sent and the broker acknowledged.
type published struct {
	messages atomic.Int64 // for the progress line

	mu    sync.Mutex
	lines multiset
}

// publish sends every line of the source to the topic through n producers, a file at a time, and counts in p what the broker
// acknowledged. It returns the first error, after all producers have ended.
func (p *published) publish(ctx context.Context, src source, address, topic string, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	files := make(chan string)
	var producers sync.WaitGroup
	for range n {
		producers.Go(func() {
			if err := p.produce(src, address, topic, files); err != nil {
				cancel(fmt.Errorf("publishing: %w", err))
			}
		})
	}
	feed(ctx, files, src.files)
	producers.Wait()
	return context.Cause(ctx)
}

// feed hands out the files, and closes the channel behind the last, or when ctx ends.
func feed(ctx context.Context, files chan<- string, names []string) {
	defer close(files)
	for _, name := range names {
		select {
		case files <- name:
		case <-ctx.Done():
			return
		}
	}
}

// produce is one producer: it sends the lines of the files that it is handed, in batches, each acknowledged before the next.
func (p *published) produce(src source, address, topic string, files <-chan string) error {
	producer, err := nsq.NewProducer(address, clientConfig())
	if err != nil {
		return err
	}
	defer producer.Stop()
	producer.SetLogger(clientLog, nsq.LogLevelError)

	var batch [][]byte
	size, lines := 0, multiset{}
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := producer.MultiPublish(topic, batch); err != nil {
			return err
		}
		p.acknowledged(lines)
		batch, size, lines = batch[:0], 0, multiset{}
		return nil
	}
	for name := range files {
		err := src.eachLine(name, func(message []byte) error {
			batch, size = append(batch, message), size+len(message)
			lines.add(digestOf(message))
			if len(batch) < batchMessages && size < batchBytes {
				return nil
			}
			return send()
		})
		if err != nil {
			return fmt.Errorf("lines of %s: %w", name, err)
		}
	}
	return send()
}

func (p *published) acknowledged(lines multiset) {
	p.messages.Add(int64(lines.count))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines.addAll(lines)
}

// result returns what the broker acknowledged so far.
func (p *published) result() multiset {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines
}
