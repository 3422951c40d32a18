package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"brokerd/protocol/httpapi"
)

// Option is one option of a topic or channel as the brokers tell it.
type Option struct {
	httpapi.OptionValue
	Mixed bool `json:"mixed"` // they do not have the same value, or not from the same place; what is told is one's
}

// OptionRefusal is why no broker has taken options: what one of them says.
type OptionRefusal struct{ Text string }

func (e *OptionRefusal) Error() string { return e.Text }

// Options returns the options of a topic, or of a channel of it when one is named, by name; none when no broker tells them, as nsqd does
// not. The error is ErrNothing when nobody has it.
func (c *Cluster) Options(ctx context.Context, topic, channel string) (map[string]Option, error) {
	nodes, _, err := c.concerned(ctx, topic)
	switch {
	case err != nil:
		return nil, err
	case len(nodes) == 0:
		return nil, ErrNothing
	}
	answers := make([]httpapi.Options, len(nodes))
	failures := make([]error, len(nodes))
	var asks sync.WaitGroup
	for i, n := range nodes {
		asks.Go(func() {
			failures[i] = c.cfg.HTTP.Get(ctx, "http://"+n.Address+"/"+kind(channel)+"/config"+args(topic, channel), &answers[i])
		})
	}
	asks.Wait()
	all := map[string]Option{}
	for i := range answers {
		if failures[i] != nil && !unknownThere(failures[i]) {
			err = failures[i]
		}
		for name, v := range answers[i].Options {
			had, known := all[name]
			if !known {
				had = Option{OptionValue: v}
			}
			had.Mixed = had.Mixed || known && (!reflect.DeepEqual(had.Value, v.Value) || had.Source != v.Source)
			all[name] = had
		}
	}
	if len(all) == 0 && err != nil {
		return nil, err
	}
	return all, nil
}

// SetOptions sets options of a topic or channel at every broker that has it; null puts the default back. The error is an OptionRefusal when
// all refuse them and one says why.
func (c *Cluster) SetOptions(ctx context.Context, topic, channel string, options map[string]json.RawMessage) (*Outcome, error) {
	o, err := c.atBrokers(ctx, topic, "/"+kind(channel)+"/config"+args(topic, channel), options)
	if o == nil || err == nil {
		return o, err
	}
	for _, r := range o.Results {
		var status *httpapi.StatusError
		if errors.As(r.Err, &status) && status.Code == http.StatusBadRequest {
			if text, ok := strings.CutPrefix(status.Message(), "INVALID_CONFIG: "); ok {
				return o, &OptionRefusal{text}
			}
		}
	}
	return o, err
}
