package brokerctl

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
)

// TestManualPagesAreTheSameAnywhere: wherever the programs lie, and so in whichever folder a release is built.
func TestManualPagesAreTheSameAnywhere(t *testing.T) {
	t.Parallel()
	here, there, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	original := cmdtest.Find(t, "brokerctl")
	moved := filepath.Join(elsewhere, "brokerctl")
	if out, err := exec.CommandContext(t.Context(), "cp", original, moved).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for dir, program := range map[string]string{here: original, there: moved} {
		if out, code := apptest.Run(t, program, "man", dir); code != appkit.ExitOK {
			t.Fatalf("%s man: %d %s", program, code, out)
		}
	}
	pages, err := os.ReadDir(here)
	if err != nil || len(pages) < 50 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		one, err := os.ReadFile(filepath.Join(here, page.Name()))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(there, page.Name()))
		if err != nil || string(one) != string(two) {
			t.Errorf("%s differs: %v", page.Name(), err)
		}
	}
}
