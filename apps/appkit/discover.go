package appkit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"brokerd/protocol/httpapi"
)

// HTTPFlags are the flags of a tool that asks daemons over HTTP.
type HTTPFlags struct{ ConnectTimeout, RequestTimeout time.Duration }

// AddHTTPFlags registers NSQ's two timeouts.
func AddHTTPFlags(flags *flag.FlagSet, connect, request time.Duration) *HTTPFlags {
	h := &HTTPFlags{}
	flags.DurationVar(&h.ConnectTimeout, "http-client-connect-timeout", connect, "of connecting to an HTTP API")
	flags.DurationVar(&h.RequestTimeout, "http-client-request-timeout", request, "of a whole request to an HTTP API")
	return h
}

// Check says in NSQ's words what is wrong with the flags.
func (h *HTTPFlags) Check() error {
	switch {
	case h.ConnectTimeout <= 0:
		return Usagef("--http-client-connect-timeout should be positive")
	case h.RequestTimeout <= 0:
		return Usagef("--http-client-request-timeout should be positive")
	}
	return nil
}

// Client returns a client with the flags' timeouts that shows the tool's token. Its Close must be called.
func (h *HTTPFlags) Client(env *Env) *httpapi.HTTPClient {
	return httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: h.ConnectTimeout, RequestTimeout: h.RequestTimeout,
		UserAgent: env.UserAgent(), Token: env.Token(), TLS: env.TLS()})
}

// Discovery asks several lookups at once and puts their answers together. A lookup that fails takes nothing from what the others
// know: each method returns what was found, and beside it an error that joins a *LookupError of each that failed. Dead tells
// whether none answered. It is safe for concurrent use.
type Discovery struct {
	client  *httpapi.HTTPClient
	lookups []string
}

// LookupError is the failure of one lookup.
type LookupError struct {
	Address string
	Err     error
}

// Error names the lookup and what went wrong.
func (e *LookupError) Error() string { return fmt.Sprintf("lookup %s: %v", e.Address, e.Err) }

// Unwrap returns what went wrong.
func (e *LookupError) Unwrap() error { return e.Err }

// NewDiscovery asks through the client. Addresses are host:port or URLs.
func NewDiscovery(client *httpapi.HTTPClient, lookups []string) *Discovery {
	return &Discovery{client: client, lookups: lookups}
}

// Dead reports whether err means that not one lookup answered.
func (d *Discovery) Dead(err error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	return ok && len(joined.Unwrap()) == len(d.lookups)
}

// Topics returns every topic that a lookup knows, sorted.
func (d *Discovery) Topics(ctx context.Context) ([]string, error) {
	answers, err := ask[httpapi.Topics](ctx, d, "/topics")
	topics := make(map[string]bool)
	for _, answer := range answers {
		for _, topic := range answer.Topics {
			topics[topic] = true
		}
	}
	return slices.Sorted(maps.Keys(topics)), err
}

// Producers returns the brokers that have the topic, each once, sorted by address.
func (d *Discovery) Producers(ctx context.Context, topic string) ([]httpapi.Producer, error) {
	answers, err := ask[httpapi.Lookup](ctx, d, "/lookup?topic="+url.QueryEscape(topic))
	found := make(map[string]httpapi.Producer)
	for _, answer := range answers {
		for _, producer := range answer.Producers {
			found[producer.HTTPAddress()] = producer
		}
	}
	return sortedValues(found), err
}

// Nodes returns every broker that a lookup knows, each once with what the first lookup says of it, sorted by address.
func (d *Discovery) Nodes(ctx context.Context) ([]httpapi.Node, error) {
	answers, err := ask[httpapi.Nodes](ctx, d, "/nodes")
	found := make(map[string]httpapi.Node)
	for _, answer := range answers {
		for _, node := range answer.Producers {
			if _, ok := found[node.HTTPAddress()]; !ok {
				found[node.HTTPAddress()] = node
			}
		}
	}
	return sortedValues(found), err
}

func sortedValues[T any](byAddress map[string]T) []T {
	values := make([]T, 0, len(byAddress))
	for _, address := range slices.Sorted(maps.Keys(byAddress)) {
		values = append(values, byAddress[address])
	}
	return values
}

// ask returns the answers of the lookups that gave one. 404 is an answer: the lookup knows nothing of what was asked.
func ask[T any](ctx context.Context, d *Discovery, path string) ([]T, error) {
	answers, failures := make([]T, len(d.lookups)), make([]error, len(d.lookups))
	var wait sync.WaitGroup
	for i, address := range d.lookups {
		wait.Go(func() {
			err := d.client.Get(ctx, BaseURL(address)+path, &answers[i])
			var status *httpapi.StatusError
			if err != nil && !(errors.As(err, &status) && status.Code == http.StatusNotFound) {
				failures[i] = &LookupError{address, err}
			}
		})
	}
	wait.Wait()
	return answers, errors.Join(failures...)
}

// BaseURL is the URL of a daemon's HTTP API: the address itself when it is one, without a slash at its end.
func BaseURL(address string) string {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return strings.TrimRight(address, "/")
}
