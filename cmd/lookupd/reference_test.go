package main

import (
	"testing"

	"brokerd/cmd/cmdtest"
	"brokerd/lookup"
)

func TestThePageOfSettingsIsWhatTheyAre(t *testing.T) {
	o := lookup.DefaultOptions()
	cmdtest.Document(t, "docs/reference/lookupd.md", []byte(program(&o).Reference()))
}
