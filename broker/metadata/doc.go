// Package metadata keeps the list of topics and channels on disk while it changes.
//
// A change is only noted; one goroutine writes the whole list soon after, and what changes meanwhile goes with the next
// write. So a thousand new topics cost a few writes and nobody waits for a disk. Who must wait, as HTTP's pause does, calls
// Save.
package metadata
