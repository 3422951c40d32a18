package leaktest

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines have to end. Those of a busy machine that have been told to may wait for the processor, and goleak itself waits for
// half a second.
const patience = time.Minute

// Main runs the tests and ends the process.
func Main(m *testing.M) { goleak.VerifyTestMain(patient{m}) }

// Find returns an error that names the goroutines which are left.
func Find() error {
	for began := time.Now(); ; {
		if err := goleak.Find(); err == nil || time.Since(began) > patience {
			return err
		}
	}
}

// patient waits before goleak looks.
type patient struct{ m *testing.M }

func (p patient) Run() int {
	code := p.m.Run()
	if code == 0 {
		_ = Find() // goleak looks again, and says it
	}
	return code
}
