package cluster

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"

	"brokerd/protocol/httpapi"
)

// BrowseQuery says which messages are looked at.
type BrowseQuery struct {
	Topic   string
	Channel string // empty: what the topic has
	State   string // of a channel: waiting, in_flight or deferred
	From    string // a place; empty: the beginning
	Text    string // only messages whose bodies have it; empty: all
	Limit   int    // of each broker

	// Cursors are where to go on, by the ids of brokers, as Page.Next says: only these are asked. nil: all are, from From on.
	Cursors map[string]string
}

// Page is what one broker shows.
type Page struct {
	Node     string
	Messages []httpapi.Message
	Next     string // for BrowseQuery.Cursors
	End      bool   // there is no more now
	Err      error
}

// Bounds of what one broker is asked for at once.
const (
	browseBody = 256      // bytes of each body
	browseScan = 64 << 20 // bytes that a search looks through
)

// Browse asks the brokers that have a topic for messages, with the beginnings of their bodies. None is taken. Those that have no such topic or
// channel are left out. The error is ErrNothing when nobody has the topic.
func (c *Cluster) Browse(ctx context.Context, q BrowseQuery) ([]Page, error) {
	nodes, _, err := c.concerned(ctx, q.Topic)
	if err != nil {
		return nil, err
	}
	path := "/topic/messages" + args(q.Topic, "")
	if q.Channel != "" {
		path = "/channel/messages" + args(q.Topic, q.Channel) + "&state=" + url.QueryEscape(q.State)
	}
	path += fmt.Sprintf("&body=head:%d&scan=%d&limit=%d", browseBody, browseScan, q.Limit)
	if q.Text != "" {
		path += "&contains=" + url.QueryEscape(q.Text)
	}
	return askAll(nodes, func(n *Node) (p Page, ok bool) {
		place := ""
		switch cursor, some := q.Cursors[n.ID]; {
		case some:
			place = "&cursor=" + url.QueryEscape(cursor)
		case q.Cursors != nil:
			return p, false
		case q.From != "":
			place = "&from=" + url.QueryEscape(q.From)
		}
		var m httpapi.Messages
		err := c.cfg.HTTP.Get(ctx, "http://"+n.Address+path+place, &m)
		return Page{Node: n.ID, Messages: m.Messages, Next: m.Next, End: m.End, Err: err}, !unknownThere(err)
	}), nil
}

// askAll asks some brokers at once, and returns the answers of those that have one.
func askAll[T any](nodes []*Node, ask func(*Node) (T, bool)) (list []T) {
	all, has := make([]T, len(nodes)), make([]bool, len(nodes))
	var asks sync.WaitGroup
	for i, n := range nodes {
		asks.Go(func() { all[i], has[i] = ask(n) })
	}
	asks.Wait()
	for i := range all {
		if has[i] {
			list = append(list, all[i])
		}
	}
	return list
}

// Trace is what one broker has of a message.
type Trace struct {
	Node    string
	Message httpapi.MessageAt
	Err     error
}

// TraceQuery says which message is looked for, and what of it is wanted.
type TraceQuery struct {
	Topic    string
	Node     string // empty: all brokers that have the topic
	ID       string
	Position uint64 // on Node, in place of ID; 0: by ID
	Whole    bool   // all of the body
	History  bool   // what the log has of what happened to it
}

// Trace asks for one message. Brokers that do not have it are left out. Errors are ErrUnknownNode, and ErrNothing when nobody has the topic.
func (c *Cluster) Trace(ctx context.Context, q TraceQuery) ([]Trace, error) {
	var nodes []*Node
	what := "&id=" + url.QueryEscape(q.ID)
	if q.Position > 0 {
		what = "&pos=" + strconv.FormatUint(q.Position, 10)
	}
	if q.Node != "" {
		n := c.FindNode(ctx, q.Node)
		if n == nil {
			return nil, ErrUnknownNode
		}
		nodes = []*Node{n}
	} else {
		var err error
		if nodes, _, err = c.concerned(ctx, q.Topic); err != nil {
			return nil, err
		}
	}
	what += "&body=" + traceBody(q.Whole)
	if q.History {
		what += "&history=true"
	}
	return askAll(nodes, func(n *Node) (t Trace, ok bool) {
		t.Node = n.ID
		t.Err = c.cfg.HTTP.Get(ctx, "http://"+n.Address+"/message"+args(q.Topic, "")+what, &t.Message)
		return t, !unknownThere(t.Err)
	}), nil
}

func traceBody(whole bool) string {
	if whole {
		return "full"
	}
	return "head:" + strconv.Itoa(16<<10)
}

// which names a message of one broker by its position. With its id, empty for none, the broker makes sure that it is that one: a page may be
// older than the topic.
func which(position uint64, id string) string {
	text := "&pos=" + strconv.FormatUint(position, 10)
	if id != "" {
		text += "&id=" + url.QueryEscape(id)
	}
	return text
}

// FinishMessage has one broker finish a message of a channel by hand. The error is ErrUnknownNode, or ErrNothing when the channel has nothing
// of it there.
func (c *Cluster) FinishMessage(ctx context.Context, node, topic, channel string, position uint64, id string) error {
	n := c.FindNode(ctx, node)
	if n == nil {
		return ErrUnknownNode
	}
	result := c.tellNodes(ctx, []*Node{n}, "/message/finish"+args(topic, channel)+which(position, id), nil)[0]
	if unknownThere(result.Err) {
		return ErrNothing
	}
	if result.Err != nil {
		return &NodeError{Node: n.ID, Age: -1, Err: result.Err}
	}
	return nil
}

// Move is a rewind or a skip of a channel.
type Move struct {
	Topic, Channel string
	Skip           bool   // a rewind if not
	To             string // a place
	All            bool   // of a skip: what is in flight or deferred goes too
}

// Moved is what it does at one broker, or would do.
type Moved struct {
	Node  string
	Moved httpapi.Moved
	Err   error
}

// Move has every broker that has a channel rewind or skip it, or with dry say what that would do. Brokers that do not have the channel are left
// out. The error is ErrNothing when nobody has the topic.
func (c *Cluster) Move(ctx context.Context, m Move, dry bool) ([]Moved, error) {
	nodes, _, err := c.concerned(ctx, m.Topic)
	if err != nil {
		return nil, err
	}
	path := "/channel/rewind"
	if m.Skip {
		path = "/channel/skip"
	}
	path += args(m.Topic, m.Channel) + "&to=" + url.QueryEscape(m.To)
	if m.All {
		path += "&all=true"
	}
	if dry {
		path += "&dry_run=true"
	}
	list := askAll(nodes, func(n *Node) (did Moved, ok bool) {
		did.Node = n.ID
		did.Err = c.cfg.HTTP.Post(ctx, "http://"+n.Address+path, nil, &did.Moved)
		return did, !unknownThere(did.Err)
	})
	if !dry {
		c.Kick()
	}
	return list, nil
}
