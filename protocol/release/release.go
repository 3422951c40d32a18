package release

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"brokerd/protocol"
)

// number is the version, which make sets from CHANGELOG.md. A program that go build made alone has none.
var number = "devel"

// Build is one build.
type Build struct {
	Version string `json:"version"` // of the release, or devel
	Commit  string `json:"commit"`  // hexadecimal, 12 digits; with + behind it when files were changed since; empty when unknown
	Date    string `json:"date"`    // of the commit, as in 2026-11-28T12:00:00Z; empty when unknown
	Go      string `json:"go"`      // as in go1.26.8
}

// This is the build of the program that runs.
var This = sync.OnceValue(func() Build {
	b := Build{Version: number, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	changed := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value[:min(len(s.Value), 12)]
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				changed = "+"
			}
		}
	}
	if b.Commit != "" {
		b.Commit += changed
	}
	return b
})

// String is the build as --version tells it: 0.9.0 (f5d72bc90a11, 2026-11-28T12:00:00Z, go1.26.8), speaks NSQ 1.3.0.
func (b Build) String() string {
	about := b.Go
	if b.Commit != "" {
		about = fmt.Sprintf("%s, %s, %s", b.Commit, b.Date, b.Go)
	}
	return fmt.Sprintf("%s (%s), speaks NSQ %s", b.Version, about, protocol.Version)
}

// Attrs are the build as the first line of a log tells it.
func (b Build) Attrs() []any {
	attrs := []any{"release", b.Version}
	if b.Commit != "" {
		attrs = append(attrs, "commit", b.Commit, "date", b.Date)
	}
	return append(attrs, "go", b.Go, "speaks", "NSQ "+protocol.Version)
}
