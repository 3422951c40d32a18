package democluster

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

const (
	topic   = "orders"
	channel = "work"

	batchEvery  = 20 * time.Millisecond // of each producer
	msgTimeout  = 5 * time.Second       // a consumer's, for a message
	maxInFlight = 100                   // of each consumer

	// silence is for how long a connection may say nothing, 60 s in go-nsq. A broker that looks for a leader says nothing to a producer for
	// --cluster-wait, 5 s: who leaves sooner would show for how long he waits, and not when the publish was answered.
	silence = 6 * time.Second
)

// clientConfig is go-nsq's own, but for how soon a connection to a process that says nothing any more is given up.
func clientConfig() *nsq.Config {
	config := nsq.NewConfig()
	config.DialTimeout, config.WriteTimeout = time.Second, time.Second
	config.HeartbeatInterval, config.ReadTimeout = time.Second, silence
	return config
}

// load is stock clients at work.
type load struct {
	ledger    *ledger
	clientLog *log.Logger
	consumers []*nsq.Consumer
	producing sync.WaitGroup
	stop      context.CancelFunc // of the producers
}

// startLoad has consumers find brokers by the lookups, and producers publish to brokers: each so many messages a second. Errors of clients, of which
// there are many while brokers die, go to a file.
func startLoad(lookups, brokers []string, producers, consumers, rate int, logFile string) (*load, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	l := &load{ledger: newLedger(producers), clientLog: log.New(out, "", log.Lmicroseconds)} // the file is the process's until it ends
	for range consumers {
		config := clientConfig()
		config.MaxInFlight, config.MsgTimeout, config.MaxAttempts = maxInFlight, msgTimeout, 0 // no limit
		config.BackoffMultiplier = 0
		c, err := nsq.NewConsumer(topic, channel, config)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("making a consumer: %w", err)
		}
		c.SetLogger(l.clientLog, nsq.LogLevelWarning)
		c.AddHandler(l)
		l.consumers = append(l.consumers, c)
		if err := c.ConnectToNSQLookupds(lookups); err != nil {
			l.close()
			return nil, fmt.Errorf("consuming: %w", err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	for i := range producers {
		l.producing.Go(func() { l.produce(ctx, i, brokers, rate) })
	}
	return l, nil
}

// HandleMessage is go-nsq's, which finishes the message.
func (l *load) HandleMessage(m *nsq.Message) error {
	l.ledger.finish(m.Body)
	return nil
}

// home is how long a producer stays at another broker before it looks whether its own is there again.
const home = 3 * time.Second

// produce is one producer. It publishes to a broker of its own, and to another one after an error, until it tries its own again: it sends nothing
// twice.
func (l *load) produce(ctx context.Context, number int, brokers []string, rate int) {
	var p *nsq.Producer
	leave := func() {
		if p != nil {
			p.Stop()
		}
		p = nil
	}
	defer leave()
	tick := time.NewTicker(batchEvery)
	defer tick.Stop()
	at, since, owed := number, time.Now(), 0.0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if owed += float64(rate) * batchEvery.Seconds(); owed < 1 {
			continue
		}
		if at != number && time.Since(since) > home {
			leave()
			at = number
		}
		n := int(owed)
		owed -= float64(n)
		if err := l.publish(&p, number, brokers[at%len(brokers)], n); err != nil {
			l.clientLog.Printf("producer %d at %s: %v", number, brokers[at%len(brokers)], err)
			leave()
			at, since = at+1, time.Now()
		}
	}
}

// publish sends a producer's next messages to a broker, and notes what became of them.
func (l *load) publish(p **nsq.Producer, number int, broker string, n int) (err error) {
	if *p == nil {
		if *p, err = nsq.NewProducer(broker, clientConfig()); err != nil {
			return err
		}
		(*p).SetLogger(l.clientLog, nsq.LogLevelError)
	}
	first, bodies := l.ledger.send(number, n)
	err = (*p).MultiPublish(topic, bodies)
	l.ledger.answered(number, first, n, err == nil)
	return err
}

// endProducing stops the producers, and waits for the answers to what they have sent.
func (l *load) endProducing() {
	if l.stop != nil {
		l.stop()
	}
	l.producing.Wait()
}

// close ends all clients. It may be called more than once.
func (l *load) close() {
	l.endProducing()
	for _, c := range l.consumers {
		c.Stop()
	}
	for _, c := range l.consumers {
		<-c.StopChan
	}
	l.consumers = nil
}
