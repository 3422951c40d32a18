package cluster

import "encoding/json"

// Served is by which of its nodes a topic is served to clients, as its options say.
type Served struct {
	Serve string `json:"serve,omitempty"` // all, or nothing: by all of them; leader: by who leads
}

const serveLeader = "leader"

// AtLeader reports whether clients are told of the leader alone.
func (s Served) AtLeader() bool { return s.Serve == serveLeader }

// ServedBy returns the options of a topic that is made, nil for none.
func ServedBy(leader bool) json.RawMessage {
	if !leader {
		return nil
	}
	return json.RawMessage(`{"serve":"` + serveLeader + `"}`)
}

// Served returns by whom the topic is served to clients. Options that cannot be read say nothing of it.
func (t *Topic) Served() (s Served) {
	if len(t.Options) > 0 {
		_ = json.Unmarshal(t.Options, &s)
	}
	return s
}
