package tohttp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/targets"
	"brokerd/protocol/wholefile"
)

const defaultContentType = "application/octet-stream"

// Command is brokerd's nsq_to_http.
var Command = appkit.Command{
	Name:    "tohttp",
	NSQ:     "nsq_to_http",
	Summary: "make an HTTP request of each message of a topic",
	Help: `Consumes a topic and posts each message to a URL, or puts it into the URL of a GET. A message is finished when a target has
answered 2xx. What fails is requeued with growing delays, and nothing is lost while targets are down: then the
consumer asks for less. Messages that targets refuse with 4xx are requeued without holding up the others;
--finish-status says which of these answers end a message. A request may be made twice.

With several targets, --mode chooses: hostpool goes round those that work, round-robin round all,
epsilon-greedy prefers the fastest, multicast sends each message to every one.`,
	Example: `brokerctl tohttp --topic=orders --post=http://127.0.0.1:8080/orders --lookupd-http-address=127.0.0.1:4161
brokerctl tohttp --topic=orders --post=http://10.0.0.2/in --post=http://10.0.0.3/in --header='Authorization: Bearer TOKEN' \
  --content-type=application/json --nsqd-tcp-address=127.0.0.1:4150 --finish-status=400,410-418
brokerctl tohttp --topic=pings --get='http://127.0.0.1:8080/ping?text=%s' --nsqd-tcp-address=127.0.0.1:4150`,
	Progress: true,
	Service:  true,
	OneKind:  true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		return newOptions(flags).run
	},
}

// options is what the flags say.
type options struct {
	consumer *appkit.ConsumerFlags
	http     *appkit.HTTPFlags

	topic, channel string
	posts, gets    appkit.Strings
	workers        int
	mode           string
	sample         float64
	contentType    string
	headers        appkit.Lines
	details        bool
	finish         appkit.Strings
	statusEvery    int
	httpAddress    string
	rootCA         string
	cert, key      string
	insecure       bool
}

func newOptions(flags *flag.FlagSet) *options {
	o := &options{
		consumer: appkit.AddConsumerFlags(flags, 200),
		http:     appkit.AddHTTPFlags(flags, 2*time.Second, 20*time.Second),
	}
	flags.StringVar(&o.topic, "topic", "", "`name` of the topic to consume")
	flags.StringVar(&o.channel, "channel", "nsq_to_http", "`name` of the channel to consume")
	flags.Var(&o.posts, "post", "`URL` to post messages to")
	flags.Var(&o.gets, "get", "`URL` to get, in which %s stands for the message")
	flags.IntVar(&o.workers, "n", 100, "how many requests may be made at a time")
	flags.StringVar(&o.mode, "mode", string(targets.HostPool),
		"how to choose among several targets: round-robin, hostpool, epsilon-greedy or multicast")
	flags.Float64Var(&o.sample, "sample", 1, "share of the messages to make requests of, 0 to 1; the rest is finished")
	flags.StringVar(&o.contentType, "content-type", defaultContentType, "`type` of what is posted")
	flags.Var(&o.headers, "header", "`'Key: Value'` to send with each request")
	flags.BoolVar(&o.details, "message-headers", false,
		"send X-Nsq-Topic, X-Nsq-Channel, X-Nsq-Message-Id, X-Nsq-Timestamp (in ns) and X-Nsq-Attempts too")
	flags.Var(&o.finish, "finish-status",
		"status `codes` or ranges besides 2xx, such as 400,410-418, after which a message is finished; each one is logged")
	flags.IntVar(&o.statusEvery, "status-every", 250, "after how many messages to log the targets' times; 0 never does")
	flags.StringVar(&o.httpAddress, "http-address", "", "`address` on which to tell the state over HTTP (default none)")
	flags.StringVar(&o.rootCA, "http-client-tls-root-ca-file", "", "PEM `file` of the authorities that targets' certificates come from")
	flags.StringVar(&o.cert, "http-client-tls-cert", "", "PEM `file` of the certificate to show to targets")
	flags.StringVar(&o.key, "http-client-tls-key", "", "PEM `file` of the certificate's key")
	flags.BoolVar(&o.insecure, "http-client-tls-insecure-skip-verify", false, "accept any certificate of a target")
	return o
}

// plan is what the flags come to.
type plan struct {
	mode      targets.Mode
	requester requester // without its client
	tls       *tls.Config
}

// check returns the plan, or what is wrong with the flags.
func (o *options) check() (*plan, error) {
	switch {
	case o.topic == "" || o.channel == "":
		return nil, appkit.Usagef("--topic and --channel are required")
	case o.contentType != defaultContentType && len(o.posts) == 0:
		return nil, appkit.Usagef("--content-type only used with --post")
	case o.contentType == "":
		return nil, appkit.Usagef("--content-type requires a value when used")
	case len(o.posts) == 0 && len(o.gets) == 0:
		return nil, appkit.Usagef("--get or --post required")
	case len(o.posts) > 0 && len(o.gets) > 0:
		return nil, appkit.Usagef("use --get or --post not both")
	case !(o.sample >= 0 && o.sample <= 1):
		return nil, appkit.Usagef("--sample must be between 0.0 and 1.0, not %v", o.sample)
	case o.workers < 1:
		return nil, appkit.Usagef("--n must be at least 1, not %d", o.workers)
	case (o.cert == "") != (o.key == ""):
		return nil, appkit.Usagef("use --http-client-tls-cert and --http-client-tls-key together")
	}
	if err := o.consumer.Check(); err != nil {
		return nil, err
	}
	if err := appkit.CheckNames(o.topic, o.channel); err != nil {
		return nil, err
	}
	if err := o.http.Check(); err != nil {
		return nil, err
	}
	p, err := o.parse()
	if err != nil {
		return nil, appkit.Usagef("%w", err)
	}
	return p, nil
}

func (o *options) parse() (p *plan, err error) {
	p = &plan{requester: requester{method: http.MethodPost, urls: o.posts, topic: o.topic, channel: o.channel, details: o.details}}
	r := &p.requester
	valid := checkURL
	if len(o.gets) > 0 {
		r.method, r.urls, valid = http.MethodGet, o.gets, checkGET
	}
	for _, address := range r.urls {
		if err := valid(address); err != nil {
			return nil, err
		}
	}
	if p.mode, err = targets.ParseMode(o.mode, targets.RoundRobin, targets.HostPool, targets.EpsilonGreedy, targets.Multicast); err != nil {
		return nil, err
	}
	own, err := parseHeaders(o.headers.Strings)
	if err != nil {
		return nil, err
	}
	r.header = http.Header{"User-Agent": {"tohttp v" + appkit.Version}}
	if r.method == http.MethodPost {
		r.header.Set("Content-Type", o.contentType)
	}
	for key, values := range own {
		r.header[key] = values
	}
	if r.fine, err = parseCodes(o.finish); err != nil {
		return nil, err
	}
	p.tls, err = o.tlsConfig()
	return p, err
}

// tlsConfig returns nil when no flag asks for anything special.
func (o *options) tlsConfig() (*tls.Config, error) {
	if o.rootCA == "" && o.cert == "" && !o.insecure {
		return nil, nil
	}
	config := &tls.Config{InsecureSkipVerify: o.insecure}
	if o.rootCA != "" {
		pem, err := wholefile.Read(o.rootCA)
		if err != nil {
			return nil, fmt.Errorf("--http-client-tls-root-ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--http-client-tls-root-ca-file: no certificate in %s", o.rootCA)
		}
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, fmt.Errorf("--http-client-tls-cert: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// client returns a client with a connection for each worker and target. A redirect that would turn a POST into a GET, and so
// leave the message behind, is not followed.
func (o *options) client(p *plan) *http.Client {
	dialer := &net.Dialer{Timeout: o.http.ConnectTimeout, KeepAlive: 30 * time.Second}
	return &http.Client{
		Timeout: o.http.RequestTimeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: p.tls, TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: o.workers, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= 10 || req.Method != via[0].Method {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// run makes requests until ctx is done.
func (o *options) run(ctx context.Context, env *appkit.Env) error {
	p, err := o.check()
	if err != nil {
		return err
	}
	return o.deliver(ctx, env, p)
}
