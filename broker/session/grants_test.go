package session

import (
	"testing"

	"brokerd/protocol"
)

// TestEveryCommandHasARule: no command is without one, whether or not it needs a scope.
func TestEveryCommandHasARule(t *testing.T) {
	for verb := protocol.Identify; verb <= protocol.Dpub; verb++ {
		if _, ok := scopes[verb]; !ok {
			t.Errorf("%s has no rule", verb)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("there is a command behind DPUB, which this test does not look at")
		}
	}()
	_ = (protocol.Dpub + 1).String()
}
