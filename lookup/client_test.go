package lookup

import (
	"io"
	"log/slog"
	"net"
	"testing"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/lookupwire"

	nsq "github.com/nsqio/go-nsq"
)

// NSQ's own consumer, given only the lookup's HTTP address, connects to the broker that registered.
func TestStockConsumerFindsTheBroker(t *testing.T) {
	s := start(t)
	broker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	who := info("127.0.0.1")
	who.TCPPort = broker.Addr().(*net.TCPAddr).Port
	p := s.dial(t)
	p.identify(who)
	p.say("REGISTER t c")

	consumer, err := nsq.NewConsumer("t", "c", cmdtest.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), nsq.LogLevelError)
	consumer.AddHandler(nsq.HandlerFunc(func(*nsq.Message) error { return nil }))
	connected := make(chan error, 1)
	go func() { connected <- consumer.ConnectToNSQLookupd(s.HTTPAddr().String()) }()
	conn, err := broker.Accept()
	if err != nil {
		t.Fatal(err)
	}
	magic := make([]byte, 4)
	if _, err := io.ReadFull(conn, magic); err != nil || string(magic) != "  V2" {
		t.Errorf("magic %q %v", magic, err)
	}
	conn.Write(lookupwire.AppendReply(nil, "no broker"))
	conn.Close()
	if err := <-connected; err != nil {
		t.Error(err)
	}
	consumer.Stop()
	<-consumer.StopChan
}
