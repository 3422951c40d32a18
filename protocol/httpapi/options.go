package httpapi

// Options is what GET /topic/config and GET /channel/config tell, and what a POST there answers with.
type Options struct {
	Durability string                 `json:"durability,omitempty"` // of a topic: memory, disk or fsync
	Options    map[string]OptionValue `json:"options"`              // by name
}

// OptionValue is one option of a topic or channel as it counts.
type OptionValue struct {
	Value   any    `json:"value"`
	Source  string `json:"source"`            // default, node, topic, topic-pattern, channel or channel-pattern
	Pattern string `json:"pattern,omitempty"` // of a source that is a pattern of the broker's configuration
	Off     string `json:"off,omitempty"`     // why the value is not in force; without it it is
	Default any    `json:"default"`
	Allowed string `json:"allowed"` // must be ...
	Help    string `json:"help"`
}
