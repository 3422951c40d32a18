package ui

import (
	"embed"
	"io/fs"
)

//go:embed static
var static embed.FS

// Files returns the page's files, with index.html at the top. In index.html stand the placeholders {{base}}, the base path with
// a slash at its end; {{assets}}, what the other files lie under, without one; and {{session}}, the JSON of the session.
func Files() fs.FS {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the path is a constant and valid
	}
	return files
}
