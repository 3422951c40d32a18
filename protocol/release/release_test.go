package release

import (
	"regexp"
	"strings"
	"testing"

	"brokerd/protocol"
)

// TestBuildTellsItself in --version and in the log, with what is known of it.
func TestBuildTellsItself(t *testing.T) {
	for _, c := range []struct {
		b    Build
		want string
	}{
		{Build{"0.9.0", "f5d72bc90a11", "2026-11-28T12:00:00Z", "go1.26.8"}, "0.9.0 (f5d72bc90a11, 2026-11-28T12:00:00Z, go1.26.8), speaks NSQ 1.3.0"},
		{Build{Version: "devel", Go: "go1.26.8"}, "devel (go1.26.8), speaks NSQ 1.3.0"},
	} {
		if got := c.b.String(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		if n := len(c.b.Attrs()); n%2 != 0 {
			t.Errorf("%d parts of attributes", n)
		}
	}
	this := This()
	if !strings.HasSuffix(this.String(), "speaks NSQ "+protocol.Version) || this.Version == "" || !regexp.MustCompile(`^([0-9a-f]{12}\+?)?$`).MatchString(this.Commit) {
		t.Errorf("%+v", this)
	}
}
