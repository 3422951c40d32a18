package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Notification is one act as nsqadmin tells it to the endpoint, with what came of it.
type Notification struct {
	Action    string `json:"action"`
	Topic     string `json:"topic"`
	Channel   string `json:"channel,omitempty"`
	Node      string `json:"node,omitempty"`
	Timestamp int64  `json:"timestamp"` // s
	User      string `json:"user,omitempty"`
	RemoteIP  string `json:"remote_ip"` // ip:port
	UserAgent string `json:"user_agent"`
	URL       string `json:"url"` // of the request
	Via       string `json:"via"` // this host
	Result    string `json:"result"`
}

// waiting is how many notifications wait at most.
const waiting = 1000

// Notifier sends notifications one after another. Those that find no room are dropped and logged.
type Notifier struct {
	endpoint string // empty for none
	client   *http.Client
	log      *slog.Logger
	queue    chan Notification
}

// NewNotifier returns a Notifier to endpoint, a URL, that sends nothing before Run. An empty endpoint takes nothing.
func NewNotifier(endpoint string, client *http.Client, log *slog.Logger) *Notifier {
	return &Notifier{endpoint: endpoint, client: client, log: log, queue: make(chan Notification, waiting)}
}

// Send takes a notification and does not wait.
func (n *Notifier) Send(note Notification) {
	if n.endpoint == "" {
		return
	}
	select {
	case n.queue <- note:
	default:
		n.log.Error("notification dropped: too many wait", "action", note.Action, "topic", note.Topic)
	}
}

// Waiting returns how many notifications wait to be sent.
func (n *Notifier) Waiting() int { return len(n.queue) }

// lastWait bounds the sending of what waits when Run ends.
const lastWait = 2 * time.Second

// Run sends until ctx ends, and then what waits, for a short time.
func (n *Notifier) Run(ctx context.Context) {
	for {
		select {
		case note := <-n.queue:
			n.post(ctx, note)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
			defer cancel()
			for {
				select {
				case note := <-n.queue:
					n.post(last, note)
				default:
					return
				}
			}
		}
	}
}

// post sends one, and logs when that fails.
func (n *Notifier) post(ctx context.Context, note Notification) {
	if err := n.try(ctx, note); err != nil {
		n.log.Error("notification failed", "action", note.Action, "topic", note.Topic, "error", err)
	}
}

func (n *Notifier) try(ctx context.Context, note Notification) error {
	body, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()                                       // its error is of no use
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
