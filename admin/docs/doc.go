// Package docs holds the documentation as admind serves it under /docs: one HTML page for each Markdown file of the project's folder
// docs/, what they look like, and the index that the search box reads.
//
// It owns site/ and static/. site/ is generated: package build makes it of the Markdown, a test fails when it is stale, and
//
//	make docs
//
// writes it again. static/ is written by hand. Colours come from admind's own style sheet, so that both look alike. Nothing here is made
// at run time, and nothing is loaded from elsewhere.
//
// The tests of this package also run what the pages tell people to type: see commands_test.go.
package docs
