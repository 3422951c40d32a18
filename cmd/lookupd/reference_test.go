package main

import (
	"testing"

	"brokerd/cmd/cmdtest"
	"brokerd/lookup"
)

// TestThePageOfSettingsIsWhatTheyAre: the page, its defaults too, is made of lookupd's settings.
func TestThePageOfSettingsIsWhatTheyAre(t *testing.T) {
	o := lookup.DefaultOptions()
	cmdtest.Document(t, "docs/reference/lookupd.md", []byte(program(&o).Reference()))
}
