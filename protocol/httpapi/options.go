package httpapi

// Options is what GET /topic/config and GET /channel/config tell, and what a POST there answers with.
type Options struct {
	Durability string                 `json:"durability,omitempty"` // of a topic: memory, disk or fsync
	Options    map[string]OptionValue `json:"options"`              // by name

	Channels map[string]map[string]any `json:"channels,omitempty"` // of a topic: what was set for its channels, by channel and option
}

// Set returns the options that were set by a call, not by a pattern, and of a topic its durability wherever that comes from.
func (o *Options) Set() map[string]any {
	set := map[string]any{}
	for name, v := range o.Options {
		if v.Source == "topic" || v.Source == "channel" {
			set[name] = v.Value
		}
	}
	if o.Durability != "" {
		set["durability"] = o.Durability
	}
	return set
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
