package nsqdata

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// MetadataFile is the name of the metadata file in the data folder.
const MetadataFile = "nsqd.dat"

// Metadata is what nsqd.dat holds: the topics and channels that outlive a restart. Ephemeral ones do not belong here.
type Metadata struct {
	Topics []TopicMeta `json:"topics"`
}

// TopicMeta is one topic of the metadata.
type TopicMeta struct {
	Name     string        `json:"name"`
	Paused   bool          `json:"paused"`
	Channels []ChannelMeta `json:"channels"`

	// Durability is brokerd's own: "disk" or "fsync" of a topic that is kept in the node's log, "memory" of one for which that
	// was chosen, else empty. nsqd reads past it, and leaves it out when it writes the file.
	Durability string `json:"durability,omitempty"`

	// Number is brokerd's own: the topic's in the log, 0 for none. A repair needs it when nothing else has the name any more.
	Number uint32 `json:"number,omitempty"`

	// Options is brokerd's own too: what was set for the topic, a JSON object.
	Options json.RawMessage `json:"options,omitempty"`
}

// ChannelMeta is one channel of the metadata.
type ChannelMeta struct {
	Name   string `json:"name"`
	Paused bool   `json:"paused"`

	Options json.RawMessage `json:"options,omitempty"` // brokerd's own: what was set for the channel, a JSON object
	Number  uint32          `json:"number,omitempty"`  // brokerd's own: the channel's in the log, 0 for none
}

// ErrMetadata is a metadata file that is not its JSON.
var ErrMetadata = errors.New("failed to parse metadata")

// LoadMetadata reads dir's nsqd.dat. A missing file is an empty Metadata. Names that are not valid are left out, each with
// a warning. A file that cannot be read or is not its JSON, a zero-length one included, is an error: starting without it
// would forget every topic.
func LoadMetadata(dir string) (m Metadata, warnings []string, err error) {
	path := filepath.Join(dir, MetadataFile)
	data, err := vfs.ReadPlain(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Metadata{}, nil, nil
	}
	if errors.Is(err, vfs.ErrNotPlain) {
		return Metadata{}, nil, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	if err != nil {
		return Metadata{}, nil, fmt.Errorf("failed to read metadata: %w", err)
	}
	m, warnings, err = parseMetadata(data)
	if err != nil {
		return Metadata{}, nil, fmt.Errorf("%w in %s (%d bytes): %w; "+
			"restore the file, or move it away to start without its topics and channels", ErrMetadata, path, len(data), err)
	}
	return m, warnings, nil
}

// parseMetadata decodes the file's content, joins entries of the same name and sorts by name.
func parseMetadata(data []byte) (m Metadata, warnings []string, err error) {
	var file Metadata
	if err := json.Unmarshal(data, &file); err != nil {
		return Metadata{}, nil, err
	}
	at := make(map[string]int, len(file.Topics))
	for _, t := range file.Topics {
		if !protocol.ValidName(t.Name) {
			warnings = append(warnings, fmt.Sprintf("skipping creation of invalid topic %q", t.Name))
			continue
		}
		i, seen := at[t.Name]
		if !seen {
			i = len(m.Topics)
			at[t.Name] = i
			m.Topics = append(m.Topics, TopicMeta{Name: t.Name})
		}
		known := &m.Topics[i]
		known.Paused = known.Paused || t.Paused
		known.Durability = cmp.Or(known.Durability, t.Durability)
		if known.Options == nil {
			known.Options = t.Options
		}
		warnings = append(warnings, known.addChannels(t.Channels)...)
	}
	m.sort()
	return m, warnings, nil
}

func (t *TopicMeta) addChannels(channels []ChannelMeta) (warnings []string) {
	at := make(map[string]int, len(t.Channels)+len(channels))
	for i, c := range t.Channels {
		at[c.Name] = i
	}
	for _, c := range channels {
		if !protocol.ValidName(c.Name) {
			warnings = append(warnings, fmt.Sprintf("skipping creation of invalid channel %q of topic %q", c.Name, t.Name))
			continue
		}
		if i, seen := at[c.Name]; seen {
			known := &t.Channels[i]
			known.Paused = known.Paused || c.Paused
			if known.Options == nil {
				known.Options = c.Options
			}
			continue
		}
		at[c.Name] = len(t.Channels)
		t.Channels = append(t.Channels, c)
	}
	return warnings
}

// SaveMetadata writes m as dir's nsqd.dat, sorted by name. version is the one that the file names. The old file stays
// whole until the new one is safely on disk. m is not changed.
func SaveMetadata(dir, version string, m Metadata) error {
	data, err := appendMetadata(version, m)
	if err == nil {
		err = replaceFile(filepath.Join(dir, MetadataFile), data)
	}
	if err != nil {
		return fmt.Errorf("failed to write metadata: %w", err)
	}
	return nil
}

// appendMetadata encodes the file as nsqd does: no white space, empty lists as null, the version last.
func appendMetadata(version string, m Metadata) ([]byte, error) {
	var sorted Metadata
	for _, t := range m.Topics {
		t.Channels = append([]ChannelMeta(nil), t.Channels...)
		sorted.Topics = append(sorted.Topics, t)
	}
	sorted.sort()
	return json.Marshal(struct {
		Metadata
		Version string `json:"version"`
	}{sorted, version})
}

func (m *Metadata) sort() {
	slices.SortFunc(m.Topics, func(a, b TopicMeta) int { return cmp.Compare(a.Name, b.Name) })
	for _, t := range m.Topics {
		slices.SortFunc(t.Channels, func(a, b ChannelMeta) int { return cmp.Compare(a.Name, b.Name) })
	}
}
