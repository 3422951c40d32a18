package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"brokerd/protocol/httpapi"
)

// Result is what came of an act at one daemon.
type Result struct {
	Node string // host:port
	Err  error
}

// Outcome is what came of an act at all daemons that it concerned.
type Outcome struct {
	Results  []Result
	Warnings []error // of finding out which daemons it concerned
}

// ErrNothing is the error of an act on what no daemon has.
var ErrNothing = errors.New("no daemon has it")

// Failed returns the results that are errors. A daemon that did not have the thing (404) counts as one only when every daemon
// failed.
func (o *Outcome) Failed() (failed []Result, all bool) {
	done := 0
	for _, r := range o.Results {
		switch {
		case r.Err == nil:
			done++
		case !unknownThere(r.Err):
			failed = append(failed, r)
		}
	}
	if done > 0 {
		return failed, false
	}
	return slices.DeleteFunc(slices.Clone(o.Results), func(r Result) bool { return r.Err == nil }), true
}

// unknownThere reports whether a daemon said that it does not have the thing.
func unknownThere(err error) bool {
	var status *httpapi.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}

// refusedThere reports whether a daemon said that what it was asked makes no sense there.
func refusedThere(err error) bool {
	var status *httpapi.StatusError
	return errors.As(err, &status) && status.Code == http.StatusBadRequest
}

// Err returns the error of an act that nobody carried out, nil when somebody did. It is ErrNothing when all said that they do
// not have the thing, or nobody was there to be told.
func (o *Outcome) Err() error {
	failed, all := o.Failed()
	if !all {
		return nil
	}
	nothing := true
	var causes []string
	for _, r := range failed {
		nothing = nothing && unknownThere(r.Err)
		causes = append(causes, r.Node+": "+r.Err.Error())
	}
	if nothing && len(o.Warnings) == 0 {
		return ErrNothing
	}
	for _, w := range o.Warnings {
		causes = append(causes, w.Error())
	}
	return errors.New(strings.Join(causes, "\n"))
}

// Warning says at which daemons the act failed while others carried it out; "" for none.
func (o *Outcome) Warning() string {
	failed, _ := o.Failed()
	var lines []string
	for _, r := range failed {
		lines = append(lines, r.Node+": "+r.Err.Error())
	}
	for _, w := range o.Warnings {
		lines = append(lines, w.Error())
	}
	if len(lines) == 0 {
		return ""
	}
	return "WARNING: " + strings.Join(lines, "\n")
}

// tell sends the same POST to all addresses at once, and asks for a round to see what came of it.
func (c *Cluster) tell(ctx context.Context, addresses []string, path string, body any) []Result {
	results := make([]Result, len(addresses))
	var asks sync.WaitGroup
	for i, address := range addresses {
		asks.Go(func() {
			results[i] = Result{address, c.cfg.HTTP.Post(ctx, "http://"+address+path, body, nil)}
		})
	}
	asks.Wait()
	c.Kick()
	return results
}

// tellNodes is tell for brokers, whose results go by their IDs.
func (c *Cluster) tellNodes(ctx context.Context, nodes []*Node, path string, body any) []Result {
	addresses := make([]string, len(nodes))
	for i, n := range nodes {
		addresses[i] = n.Address
	}
	results := c.tell(ctx, addresses, path, body)
	for i, n := range nodes {
		results[i].Node = n.ID
	}
	return results
}

func args(topic, channel string) string {
	text := "?topic=" + url.QueryEscape(topic)
	if channel != "" {
		text += "&channel=" + url.QueryEscape(channel)
	}
	return text
}

// kind returns "channel" when there is one, else "topic".
func kind(channel string) string {
	if channel != "" {
		return "channel"
	}
	return "topic"
}

// concerned returns the brokers that have a topic: by what lookups tell, by what they say themselves, or by what they said in the
// last round. One that does not answer counts; of the replicas of a replicated topic one does. The error is ErrNothing when everybody says that there
// is no such topic.
func (c *Cluster) concerned(ctx context.Context, topic string) ([]*Node, []error, error) {
	p, err := c.Producers(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	if !p.Known && len(p.Warnings) == 0 && c.View().Topic(topic) == nil {
		return nil, nil, ErrNothing
	}
	if !c.ByLookups() {
		var having []*Node
		for _, a := range c.Ask(ctx, p.Nodes, Query{Topic: topic}) {
			if len(a.Stats.Topics) > 0 || a.Err != nil && !a.Known {
				having = append(having, a.Node)
			}
		}
		return speaking(having, topic), p.Warnings, nil
	}
	for _, n := range c.View().Nodes {
		told := slices.ContainsFunc(p.Nodes, func(o *Node) bool { return o.Address == n.Address })
		if n.Known && !told && n.Topic(topic) != nil { // one that is gone may come back
			p.Nodes = append(p.Nodes, n)
		}
	}
	return speaking(p.Nodes, topic), p.Warnings, nil
}

// Create makes a topic, and a channel of it when one is named: at every lookup, and the channel also at the brokers that have the
// topic. Where there are no lookups, at every broker.
func (c *Cluster) Create(ctx context.Context, topic, channel string) (*Outcome, error) {
	o := &Outcome{}
	if !c.ByLookups() {
		o.Results = c.tellNodes(ctx, c.Await(ctx).Nodes, "/topic/create"+args(topic, ""), nil)
		if channel != "" && o.Err() == nil {
			o.Results = c.tellNodes(ctx, c.View().Nodes, "/channel/create"+args(topic, channel), nil)
		}
		return o, o.Err()
	}
	o.Results = c.tell(ctx, c.Lookups(), "/topic/create"+args(topic, ""), nil)
	if channel == "" || o.Err() != nil {
		return o, o.Err()
	}
	o.Results = c.tell(ctx, c.Lookups(), "/channel/create"+args(topic, channel), nil)
	if err := o.Err(); err != nil {
		return o, err
	}
	nodes, warnings, err := c.concerned(ctx, topic)
	if err != nil && !errors.Is(err, ErrNothing) { // no broker has it yet
		warnings = append(warnings, err)
	}
	o.Warnings = warnings
	o.Results = append(o.Results, c.tellNodes(ctx, nodes, "/channel/create"+args(topic, channel), nil)...)
	return o, nil
}

// Delete deletes a topic, or a channel of it when one is named: at every lookup, so that nobody is sent there any more, then at
// every broker that has it. Nothing is deleted when it cannot be found out which brokers those are.
func (c *Cluster) Delete(ctx context.Context, topic, channel string) (*Outcome, error) {
	nodes, warnings, err := c.concerned(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("find the brokers that have it: %w", err)
	}
	o := &Outcome{Warnings: warnings}
	path := "/" + kind(channel) + "/delete" + args(topic, channel)
	if c.ByLookups() {
		o.Results = c.tell(ctx, c.Lookups(), path, nil)
	}
	o.Results = append(o.Results, c.tellNodes(ctx, nodes, path, nil)...)
	return o, o.Err()
}

// Do pauses, unpauses or empties (the action) a topic, or a channel of it when one is named, at every broker that has it.
func (c *Cluster) Do(ctx context.Context, action, topic, channel string) (*Outcome, error) {
	return c.atBrokers(ctx, topic, "/"+kind(channel)+"/"+action+args(topic, channel), nil)
}

// Redrive has every broker that has a channel send the channel's dead letters back to it, or stop that. nsqd has none: it refuses.
func (c *Cluster) Redrive(ctx context.Context, topic, channel string, stop bool) (*Outcome, error) {
	path := "/channel/redrive" + args(topic, channel)
	if stop {
		path += "&stop=true"
	}
	return c.atBrokers(ctx, topic, path, nil)
}

// SetDurability sets a topic's level at every broker that has it. nsqd has no levels: it refuses.
func (c *Cluster) SetDurability(ctx context.Context, topic, level string) (*Outcome, error) {
	return c.atBrokers(ctx, topic, "/topic/config"+args(topic, ""), map[string]string{"durability": level})
}

func (c *Cluster) atBrokers(ctx context.Context, topic, path string, body any) (*Outcome, error) {
	nodes, warnings, err := c.concerned(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("find the brokers that have it: %w", err)
	}
	o := &Outcome{Warnings: warnings, Results: c.tellNodes(ctx, nodes, path, body)}
	return o, o.Err()
}

// ErrUnknownNode is the error of an act on a broker that is not part of the cluster.
var ErrUnknownNode = errors.New("no such node")

// ErrReplicated is the error of a tombstone for a topic that is replicated: deleted on one broker it is deleted on all.
var ErrReplicated = errors.New("the topic is replicated")

// Tombstone hides a broker for a topic at every lookup and deletes the topic there. Only brokers of the cluster can be named:
// nothing else is contacted. The error is ErrUnknownNode or ErrReplicated when nothing was done.
func (c *Cluster) Tombstone(ctx context.Context, node, topic string) (*Outcome, error) {
	n := c.FindNode(ctx, node)
	if n == nil {
		return nil, ErrUnknownNode
	}
	if t := n.Topic(topic); t != nil && t.Role != "" {
		return nil, ErrReplicated
	}
	o := &Outcome{}
	if c.ByLookups() {
		o.Results = c.tell(ctx, c.Lookups(), "/topic/tombstone"+args(topic, "")+"&node="+url.QueryEscape(n.HTTPAddress()), nil)
	}
	o.Results = append(o.Results, c.tellNodes(ctx, []*Node{n}, "/topic/delete"+args(topic, ""), nil)...)
	return o, o.Err()
}

// Publish sends one message to a broker: the named one, or else one that has the topic, or else any; a healthy one in each case.
// A delay of 0 is none. It returns the broker's ID.
func (c *Cluster) Publish(ctx context.Context, node, topic string, body []byte, delay time.Duration) (string, error) {
	n, err := c.forPublish(ctx, node, topic)
	if err != nil {
		return "", err
	}
	path := "/pub" + args(topic, "")
	if delay > 0 {
		path += "&defer=" + strconv.FormatInt(delay.Milliseconds(), 10)
	}
	_, err = c.cfg.HTTP.PostBytes(ctx, "http://"+n.Address+path, body)
	c.Kick()
	if err != nil {
		return n.ID, &NodeError{Node: n.ID, Age: -1, Err: err}
	}
	return n.ID, nil
}

func (c *Cluster) forPublish(ctx context.Context, node, topic string) (*Node, error) {
	if node != "" {
		if n := c.FindNode(ctx, node); n != nil {
			return n, nil
		}
		return nil, ErrUnknownNode
	}
	v := c.Await(ctx)
	var spare *Node
	for _, n := range v.Nodes {
		switch {
		case n.Stale || n.Gone || !n.Healthy():
		case n.Topic(topic) != nil && !slices.Contains(n.Tombstoned, topic):
			return n, nil
		case spare == nil:
			spare = n
		}
	}
	if spare == nil {
		return nil, ErrUnknownNode
	}
	return spare, nil
}
