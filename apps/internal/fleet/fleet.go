package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"brokerd/apps/appkit"
	"brokerd/protocol/httpapi"
)

// Fleet is the brokers and lookups that a tool was pointed at.
type Fleet struct {
	brokers, lookups []string
	client           *httpapi.HTTPClient
	discovery        *appkit.Discovery
}

// New returns a fleet. Close ends its connections; the client is the fleet's from now on.
func New(client *httpapi.HTTPClient, brokers, lookups []string) *Fleet {
	return &Fleet{brokers: brokers, lookups: lookups, client: client, discovery: appkit.NewDiscovery(client, lookups)}
}

// Close ends the connections.
func (f *Fleet) Close() { f.client.Close() }

// Lookups returns the addresses of the lookups.
func (f *Fleet) Lookups() []string { return f.lookups }

// Failure is what went wrong with one daemon.
type Failure struct {
	Address string
	Err     error
}

// Error names the daemon and says what went wrong, in few words.
func (f Failure) Error() string { return f.Address + ": " + Explain(f.Err) }

// Unwrap returns what went wrong.
func (f Failure) Unwrap() error { return f.Err }

// Explain returns an error's text; a daemon's refusal is its status and its own word, as in 404 TOPIC_NOT_FOUND.
func Explain(err error) string {
	var status *httpapi.StatusError
	if !errors.As(err, &status) {
		var asked *url.Error
		if errors.As(err, &asked) {
			err = asked.Err // without the URL, which repeats the address
		}
		if text := err.Error(); strings.Contains(text, "malformed HTTP") {
			return "does not answer HTTP: is that the port of another protocol? A broker's HTTP port is 4151 and a lookup's 4161, where nothing else was said"
		}
		return err.Error()
	}
	if text := status.Message(); text != "" {
		return fmt.Sprintf("%d %s", status.Code, text)
	}
	return fmt.Sprintf("%d %s", status.Code, http.StatusText(status.Code)) // what else it sent is no daemon's
}

// IsNotFound reports whether a daemon answered that it does not know the topic or channel. That it does not know the request is
// something else.
func IsNotFound(err error) bool {
	var status *httpapi.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound && strings.Contains(string(status.Body), "_NOT_FOUND")
}

// IsUnknown reports whether a daemon answered that it does not know the topic, channel, message or option.
func IsUnknown(err error) bool {
	var status *httpapi.StatusError
	return IsNotFound(err) || errors.As(err, &status) &&
		(strings.Contains(string(status.Body), "INVALID_OPTION") || strings.Contains(string(status.Body), "MESSAGE_NOT_DEFERRED") ||
			strings.Contains(string(status.Body), "MESSAGE_NOT_FOUND"))
}

// HasNoRoute reports whether a daemon answered that it does not know the request, as nsqd does for what is brokerd's own.
func HasNoRoute(err error) bool {
	var status *httpapi.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound && !IsUnknown(err)
}

// IsRefusal reports whether a daemon answered that what it was asked is wrong, and not where it is or who asks.
func IsRefusal(err error) bool {
	var status *httpapi.StatusError
	return errors.As(err, &status) && status.Code == http.StatusBadRequest
}

// Brokers returns the addresses of the brokers that were given, and those that lookups name: for the topic, or all of them when
// topic is empty. Each is there once; failures are of lookups.
func (f *Fleet) Brokers(ctx context.Context, topic string) ([]string, []Failure) {
	brokers := slices.Clone(f.brokers)
	if len(f.lookups) == 0 {
		return brokers, nil
	}
	add := func(address string) {
		if !slices.Contains(brokers, address) {
			brokers = append(brokers, address)
		}
	}
	if topic == "" {
		nodes, err := f.discovery.Nodes(ctx)
		for _, n := range nodes {
			add(n.HTTPAddress())
		}
		return brokers, failuresOf(err)
	}
	producers, err := f.discovery.Producers(ctx, topic)
	for _, p := range producers {
		add(p.HTTPAddress())
	}
	return brokers, failuresOf(err)
}

// failuresOf takes a Discovery's error apart.
func failuresOf(err error) (list []Failure) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []Failure{{"lookups", err}}
	}
	for _, one := range joined.Unwrap() {
		var failed *appkit.LookupError
		if errors.As(one, &failed) {
			list = append(list, Failure{failed.Address, failed.Err})
		}
	}
	return list
}

// Answer is what one daemon said; Value means nothing when there is an error.
type Answer[T any] struct {
	Address string
	Value   T
	Err     error
}

// Each calls ask for every address, all at once, and returns the answers in the order of the addresses.
func Each[T any](addresses []string, ask func(address string) (T, error)) []Answer[T] {
	answers := make([]Answer[T], len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() {
			answers[i].Address = address
			answers[i].Value, answers[i].Err = ask(address)
		})
	}
	all.Wait()
	return answers
}

// Query is what of a broker's figures is wanted; empty names stand for all.
type Query struct {
	Topic, Channel string
	Memory         bool
}

// Stats asks each broker for its figures, without clients.
func (f *Fleet) Stats(ctx context.Context, brokers []string, q Query) []Answer[httpapi.Stats] {
	values := url.Values{"format": {"json"}, "include_clients": {"false"}, "include_mem": {fmt.Sprint(q.Memory)}}
	if q.Topic != "" {
		values.Set("topic", q.Topic)
	}
	if q.Channel != "" {
		values.Set("channel", q.Channel)
	}
	return Each(brokers, func(address string) (stats httpapi.Stats, err error) {
		err = f.client.Get(ctx, appkit.BaseURL(address)+"/stats?"+values.Encode(), &stats)
		return stats, err
	})
}

// Get asks one daemon and decodes its answer.
func (f *Fleet) Get(ctx context.Context, address, path string, v any) error {
	return f.client.Get(ctx, appkit.BaseURL(address)+path, v)
}

// Do sends one request to one daemon and returns the answer as it is.
func (f *Fleet) Do(ctx context.Context, method, address, path string, body []byte) ([]byte, error) {
	return f.client.Do(ctx, method, appkit.BaseURL(address)+path, body)
}

// Nodes returns the brokers that the lookups know.
func (f *Fleet) Nodes(ctx context.Context) ([]httpapi.Node, []Failure) {
	nodes, err := f.discovery.Nodes(ctx)
	return nodes, failuresOf(err)
}

// Topics returns the topics that the lookups know.
func (f *Fleet) Topics(ctx context.Context) ([]string, []Failure) {
	topics, err := f.discovery.Topics(ctx)
	return topics, failuresOf(err)
}
