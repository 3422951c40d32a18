//go:build unix

package ship

import (
	"strings"
	"testing"
)

// TestAStateWithoutEndIsRefused: a state is a regular file.
func TestAStateWithoutEndIsRefused(t *testing.T) {
	k := &keeper{path: "/dev/zero"}
	if _, _, err := k.read(); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("got %v", err)
	}
}
