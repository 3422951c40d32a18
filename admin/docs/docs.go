package docs

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed site static
var files embed.FS

// Serve answers a request for a page or file of the documentation: name is the path below /docs/, empty for the first page. Pages have no
// ending in their address. The answer to a name that is not there is 404 with a page that says so.
func Serve(w http.ResponseWriter, r *http.Request, name string) {
	text, name := find(strings.TrimPrefix(name, "/"))
	if text == nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("There is no such page. The first one is at docs/.\n")) // an error says that the reader left
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		h.Set("Content-Type", kind)
	}
	sum := sha256.Sum256(text)
	h.Set("ETag", `W/"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
}

// find returns a file and its name, nil when there is none.
func find(name string) ([]byte, string) {
	switch {
	case name == "":
		name = "index.html"
	case path.Ext(name) == "":
		name += ".html"
	}
	for _, folder := range []string{"site/", "static/"} {
		if !fs.ValidPath(name) {
			break
		}
		if text, err := files.ReadFile(folder + name); err == nil {
			return text, name
		}
	}
	return nil, ""
}
