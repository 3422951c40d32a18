package bench

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strconv"
	"time"

	"brokerd/apps/internal/bench/load"
	"brokerd/protocol/httpapi"
)

// target is the broker as flags name it.
type target struct {
	tcp, http, data string
	pid             int
}

func (t *target) register(flags *flag.FlagSet) {
	flags.StringVar(&t.tcp, "nsqd-tcp-address", "127.0.0.1:4150", "the broker, `host:port` or the path of a unix socket")
	flags.StringVar(&t.http, "nsqd-http-address", "", "its HTTP, `host:port`, to make and delete topics and compare counts\n"+
		"(default the port after its TCP port, if one answers there; none = do without)")
	t.registerProcess(flags, "", "the broker's")
}

// registerProcess adds the flags about the broker's process, with a prefix for each of two brokers.
func (t *target) registerProcess(flags *flag.FlagSet, prefix, whose string) {
	flags.IntVar(&t.pid, prefix+"pid", 0, whose+" `process`, to tell its CPU and memory (on this machine, Linux)")
	flags.StringVar(&t.data, prefix+"data-path", "", whose+" data `folder`, to tell its size")
}

// noHTTP turns HTTP off.
const noHTTP = "none"

// broker returns what the flags name; HTTP is looked for where it stands by default. token is what the tool shows to daemons.
func (t *target) broker(ctx context.Context, token string) (load.Broker, error) {
	b := load.Broker{TCP: t.tcp, HTTP: t.http, PID: t.pid, DataPath: t.data, Token: token}
	switch t.http {
	case noHTTP:
		b.HTTP = ""
		return b, nil
	case "":
		if guess := nextPort(t.tcp); guess != "" && answers(ctx, guess) == nil {
			b.HTTP = guess
		}
		return b, nil
	}
	if err := answers(ctx, t.http); err != nil {
		return b, fmt.Errorf("the broker's HTTP at %s: %w", t.http, err)
	}
	return b, nil
}

// nextPort returns the address with the next higher port, or nothing.
func nextPort(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65534 {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(n+1))
}

// answers reports whether a broker's HTTP is at the address.
func answers(ctx context.Context, address string) error {
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second})
	defer client.Close()
	return client.Get(ctx, "http://"+address+"/ping", nil)
}
