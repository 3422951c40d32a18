package main

import (
	"testing"

	"brokerd/admin"
	"brokerd/cmd/cmdtest"
)

// TestThePageOfSettingsIsWhatTheyAre: the page, its defaults too, is made of admind's settings.
func TestThePageOfSettingsIsWhatTheyAre(t *testing.T) {
	o := admin.DefaultOptions()
	cmdtest.Document(t, "docs/reference/admind.md", []byte(program(&o).Reference()))
}
