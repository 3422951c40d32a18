package main

import (
	"testing"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
)

// TestThePageOfSettingsIsWhatTheyAre: the page, its defaults too, is made of brokerd's settings.
func TestThePageOfSettingsIsWhatTheyAre(t *testing.T) {
	o := broker.DefaultOptions()
	cmdtest.Document(t, "docs/reference/brokerd.md", []byte(program(&o).Reference()))
}
