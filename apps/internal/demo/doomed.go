package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

// doomedCommand, as the first argument, makes this program the consumer that will be killed.
const doomedCommand = "doomed-consumer"

// The doomed consumer writes a report of each message to its standard output before it finishes it: id, digest, and when the broker took it.
const reportSize = 32

// Its standard input is closed when half of the messages are through. From then on it answers nothing, and closes its
// standard output when it holds as many messages as it can get, or after holdTime. Then it waits to be killed.
const (
	holdTime = time.Second
	lifeTime = time.Minute // that it waits, in case that nobody kills it
)

// doomedOrders says what the doomed consumer does; they are its arguments.
type doomedOrders struct {
	address, topic, channel string
	maxInFlight             int
}

func (o doomedOrders) args() []string {
	return []string{doomedCommand, o.address, o.topic, o.channel, strconv.Itoa(o.maxInFlight)}
}

// doomed is the demo's hold on the doomed consumer.
type doomed struct {
	process *exec.Cmd
	done    chan struct{} // closed when its process is gone and all its reports are in the tally
	err     error         // read after done: why that was not as it should be
}

// startDoomed starts this program again as a doomed consumer, and sees to it that it is killed when half of the channel's
// messages are through.
func startDoomed(orders doomedOrders, tally *tally, story *story) (*doomed, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	d := &doomed{process: exec.Command(self, orders.args()...), done: make(chan struct{})}
	d.process.Stderr = os.Stderr
	hold, err := d.process.StdinPipe()
	if err != nil {
		return nil, err
	}
	reports, err := d.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.process.Start(); err != nil {
		return nil, fmt.Errorf("starting the doomed consumer: %w", err)
	}
	go func() {
		select {
		case <-tally.halfSeen:
		case <-d.done:
		}
		hold.Close()
	}()
	go func() {
		defer close(d.done)
		d.err = countReports(reports, tally, story)
		if d.err == nil && !isClosed(tally.halfSeen) {
			d.err = errors.New("the doomed consumer ended before its time")
		}
		d.process.Process.Kill()
		d.process.Wait() // says that it was killed
	}()
	return d, nil
}

// discard kills the consumer if it still runs, and waits until it is gone.
func (d *doomed) discard() {
	d.process.Process.Kill() // an error means that it is gone
	<-d.done
}

// countReports counts what the doomed consumer finished until it says no more.
func countReports(reports io.Reader, tally *tally, story *story) error {
	for {
		var r [reportSize]byte
		if _, err := io.ReadFull(reports, r[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("hearing from the doomed consumer: %w", err)
		}
		id, hi, lo := binary.BigEndian.Uint64(r[:]), binary.BigEndian.Uint64(r[8:]), binary.BigEndian.Uint64(r[16:])
		tally.finish(id, digest{hi, lo}, int64(binary.BigEndian.Uint64(r[24:])))
		story.tell(id, "delivered to the consumer that has a process of its own")
		story.end(id, "finished there: it is gone from this channel")
	}
}

// runDoomed is the doomed consumer's own process. It returns only when something went wrong.
func runDoomed(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%s takes four arguments", doomedCommand)
	}
	maxInFlight, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	h := &lastHandler{full: make(chan struct{}), capacity: maxInFlight}
	if _, err := subscribe(args[0], args[1], args[2], maxInFlight, h); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	h.holding.Store(true)
	select {
	case <-h.full:
	case <-time.After(holdTime):
	}
	if err := os.Stdout.Close(); err != nil {
		return err
	}
	time.Sleep(lifeTime)
	return errors.New("nobody killed the doomed consumer")
}

// lastHandler reports and finishes messages until it is told to hold on to them.
type lastHandler struct {
	holding  atomic.Bool
	capacity int
	held     int           // only its one handler counts
	full     chan struct{} // closed when it holds capacity messages
}

// HandleMessage reports m, which go-nsq then finishes, or keeps it.
func (h *lastHandler) HandleMessage(m *nsq.Message) error {
	if h.holding.Load() {
		m.DisableAutoResponse()
		if h.held++; h.held == h.capacity {
			close(h.full)
		}
		return nil
	}
	id, err := messageID(m.ID)
	if err != nil {
		return err
	}
	d := digestOf(m.Body)
	r := make([]byte, 0, reportSize)
	r = binary.BigEndian.AppendUint64(r, id)
	r = binary.BigEndian.AppendUint64(r, d.hi)
	r = binary.BigEndian.AppendUint64(r, d.lo)
	r = binary.BigEndian.AppendUint64(r, uint64(m.Timestamp))
	_, err = os.Stdout.Write(r)
	return err
}
