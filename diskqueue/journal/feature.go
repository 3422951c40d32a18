package journal

import "slices"

// Feature is something in the log, in checkpoints or in segments that a build of the same formats would misread which does not know it. Its
// name stands in the manifest's Needs from its first use on, so that such a build refuses the folder; docs/FORMATS.md is the register.
type Feature uint8

// The features.
const (
	FeatureExpiry     Feature = iota // messages have times to live of their own: in a Publish, and in checkpoints
	FeatureProperties                // messages have something beside their bodies: in a Publish, and in segments
	FeatureMoved                     // messages are moved from one topic to another by one record
	FeatureOptions                   // topics or channels have options other than a topic's level
	FeatureDedup                     // messages have deduplication keys: in a Publish, and in checkpoints
	FeatureKeys                      // messages have keys that order them: in a Publish, in segments, and by records Aside
	FeatureRetention                 // topics keep messages that are finished: in changes, and in checkpoints
	FeatureCluster                   // the broker is in a cluster: records of groups of replicas, and fields of the manifest
)

var featureNames = [...]string{"expiry", "properties", "moved", "options", "dedup", "keys", "retention", "cluster"}

// String returns the name that stands in Needs.
func (f Feature) String() string { return featureNames[f] }

// FeatureNames returns the names of all features that this build knows, sorted.
func FeatureNames() []string { return slices.Sorted(slices.Values(featureNames[:])) }

// ParseFeature returns the feature of that name; ok is false for one that this build does not know.
func ParseFeature(name string) (f Feature, ok bool) {
	i := slices.Index(featureNames[:], name)
	return Feature(max(i, 0)), i >= 0
}
