package manifest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"brokerd/diskqueue/wal"
)

// Version is the format that is written, and the newest that is read.
const Version = 1

var (
	// ErrDamaged is a file that is no manifest.
	ErrDamaged = errors.New("the manifest is damaged")
	// ErrVersion is a manifest that a newer version has written, or one that needs a feature that is not known here.
	ErrVersion = errors.New("a newer version of brokerd is needed")
)

// ID names a folder: random, the same for the folder's whole life.
type ID [16]byte

// NewID returns a random id.
func NewID() ID {
	var id ID
	rand.Read(id[:])
	return id
}

// Short returns the bytes that the folder's other files carry.
func (id ID) Short() [8]byte { return [8]byte(id[:8]) }

// String returns 32 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns 32 hex digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText takes 32 hex digits.
func (id *ID) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(id[:], text); len(text) != 2*len(id) || err != nil || n != len(id) {
		return fmt.Errorf("folder id %.40q is not 32 hex digits", text)
	}
	return nil
}

// Offset is a place in the log.
type Offset = wal.Offset

// Log is which part of the log there is.
type Log struct {
	Seen  uint64  `json:"seen"`          // the newest file whose name and first records were synced; 0: none
	Limit uint64  `json:"limit"`         // no file has a number at or above this
	End   *Offset `json:"end,omitempty"` // after a clean stop: where the log ends
	// Gone are files that a power cut took before their names were synced, and that later ones name.
	Gone []uint64 `json:"gone,omitempty"`
	// Headless are files of which a power cut took the header and left records, with where they go on from.
	Headless []wal.Link `json:"headless,omitempty"`
}

// Checkpoint is a checkpoint that a start may use.
type Checkpoint struct {
	Number uint64 `json:"number"`
	Size   uint64 `json:"size"` // bytes
	Sum    uint32 `json:"sum"`  // CRC-32C of the whole file
	From   Offset `json:"from"` // the log from here on belongs to it
}

// Manifest is what the file says. See the package comment for the fields.
type Manifest struct {
	Needs       []string     `json:"needs,omitempty"`
	Folder      ID           `json:"folder"`
	NodeID      int64        `json:"node_id"`
	Starts      uint64       `json:"starts"`
	IDs         uint64       `json:"ids"`
	Log         Log          `json:"log"`
	Checkpoints []Checkpoint `json:"checkpoints,omitempty"`

	Groups  []Group         `json:"groups,omitempty"`
	Cluster json.RawMessage `json:"cluster,omitempty"` // what the node must not forget as a member of a cluster: a matter of who keeps it
}

// Group is a group of replicas of which there is one here, in the node's log.
type Group struct {
	Number uint32          `json:"group"`
	From   Offset          `json:"from"`           // the log from here on belongs to it
	Lost   bool            `json:"lost,omitempty"` // a repair went on without a part of the log that may have been its
	File   GroupCheckpoint `json:"file"`
}

// GroupCheckpoint is the checkpoint of a group.
type GroupCheckpoint struct {
	Number uint64 `json:"number"`
	Size   uint64 `json:"size"` // bytes
	Sum    uint32 `json:"sum"`  // CRC-32C of the whole file
}

// maxCheckpoints is how many a manifest names.
const maxCheckpoints = 2

// Clone returns a copy that shares nothing.
func (m Manifest) Clone() Manifest {
	m.Needs, m.Checkpoints = slices.Clone(m.Needs), slices.Clone(m.Checkpoints)
	m.Groups, m.Cluster = slices.Clone(m.Groups), slices.Clone(m.Cluster)
	m.Log.Gone, m.Log.Headless = slices.Clone(m.Log.Gone), slices.Clone(m.Log.Headless)
	if m.Log.End != nil {
		end := *m.Log.End
		m.Log.End = &end
	}
	return m
}

// Name puts a checkpoint in front; of those that were there one stays.
func (m *Manifest) Name(c Checkpoint) {
	m.Checkpoints = slices.Insert(m.Checkpoints, 0, c)
	m.Checkpoints = m.Checkpoints[:min(len(m.Checkpoints), maxCheckpoints)]
}

// check says what cannot be.
func (m *Manifest) check() error {
	switch {
	case m.Folder == ID{}:
		return errors.New("it has no folder id")
	case m.Log.Seen > 0 && m.Log.Seen >= m.Log.Limit:
		return fmt.Errorf("log file %d is not below the limit %d", m.Log.Seen, m.Log.Limit)
	case m.Log.End != nil && m.Log.End.File >= max(m.Log.Limit, 1):
		return fmt.Errorf("the log's end in file %d is not below the limit %d", m.Log.End.File, m.Log.Limit)
	case len(m.Checkpoints) > maxCheckpoints:
		return fmt.Errorf("it names %d checkpoints, more than %d", len(m.Checkpoints), maxCheckpoints)
	case len(m.Checkpoints) == 2 && m.Checkpoints[0].Number <= m.Checkpoints[1].Number:
		return fmt.Errorf("checkpoint %d is not newer than %d", m.Checkpoints[0].Number, m.Checkpoints[1].Number)
	}
	return nil
}

const prefix = "brokerd manifest "

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends the file's content.
func (m *Manifest) Append(dst []byte) []byte {
	body, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("manifest: it cannot be encoded: %v", err)) // numbers and plain words only
	}
	body = append(body, '\n')
	dst = fmt.Appendf(dst, "%s%d crc32c %08x\n", prefix, Version, crc32.Checksum(body, castagnoli))
	return append(dst, body...)
}

// Parse takes a file's content. It fails with ErrVersion, or with ErrDamaged for what is no manifest. Names in Needs are the
// caller's to judge.
func Parse(b []byte) (Manifest, error) {
	line, body, ok := bytes.Cut(b, []byte("\n"))
	version, sum, err := parseLine(string(line))
	switch {
	case err != nil:
		return Manifest{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	case version > Version:
		return Manifest{}, fmt.Errorf("%w: the manifest has format %d, this build knows up to %d", ErrVersion, version, Version)
	case version < 1:
		return Manifest{}, fmt.Errorf("%w: format %d", ErrDamaged, version)
	case !ok || crc32.Checksum(body, castagnoli) != sum:
		return Manifest{}, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	var m Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(m.Needs) == 0 {
		m.Needs = nil
	}
	if len(m.Checkpoints) == 0 {
		m.Checkpoints = nil
	}
	if len(m.Groups) == 0 {
		m.Groups = nil
	}
	return m, nil
}

// parseLine takes the first line apart. The number and what stands before it are the same in every version.
func parseLine(line string) (version uint64, sum uint32, err error) {
	rest, ok := strings.CutPrefix(line, prefix)
	if !ok {
		return 0, 0, fmt.Errorf("it does not begin with %q", prefix)
	}
	word, rest, _ := strings.Cut(rest, " ")
	if version, err = strconv.ParseUint(word, 10, 32); err != nil {
		return 0, 0, fmt.Errorf("%.20q is no number of a format", word)
	}
	if version != Version {
		return version, 0, nil
	}
	digits, ok := strings.CutPrefix(rest, "crc32c ")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !ok || err != nil || len(digits) != 8 {
		return 0, 0, errors.New("its first line has no checksum")
	}
	return version, uint32(n), nil
}
