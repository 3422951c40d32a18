package httpd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/docs"
)

// assets is the UI's files, read once.
type assets struct {
	base  string
	hash  string // of all files, in their URLs
	files map[string][]byte
}

const indexFile = "index.html"

func newAssets(ui fs.FS, base string) (*assets, error) {
	a := &assets{base: base, files: map[string][]byte{}}
	sum := sha256.New()
	err := fs.WalkDir(ui, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(ui, name)
		if err != nil {
			return err
		}
		a.files[name] = text
		fmt.Fprintf(sum, "%q %d ", name, len(text))
		sum.Write(text)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the pages' files: %w", err)
	}
	a.hash = hex.EncodeToString(sum.Sum(nil))[:16]
	return a, nil
}

// read returns a file of the UI, from the folder of --dev-static-dir when there is one.
func (a *api) read(name string) ([]byte, error) {
	if a.DevStaticDir == "" {
		text, ok := a.assets.files[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return text, nil
	}
	if !fs.ValidPath(name) {
		return nil, fs.ErrNotExist
	}
	root, err := os.OpenRoot(a.DevStaticDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(name)
}

// asset serves a file. Under the hash of all files it never changes; without it the browser asks each time.
func (a *api) asset(w http.ResponseWriter, r *http.Request, ps httprouter.Params) {
	name, hashed := strings.CutPrefix(strings.TrimPrefix(ps.ByName("file"), "/"), a.assets.hash+"/")
	text, err := a.read(name)
	if err != nil || name == indexFile {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("NOT_FOUND"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.Log.Error("a file of the pages cannot be read", "file", name, "error", err)
		}
		return
	}
	cache := "no-cache"
	if hashed && a.DevStaticDir == "" {
		cache = "public, max-age=31536000, immutable"
	}
	w.Header().Set("Cache-Control", cache)
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	sum := sha256.Sum256(text)
	w.Header().Set("ETag", `W/"`+hex.EncodeToString(sum[:8])+`"`) // weak: it holds for the compressed form too
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
}

// page serves the one HTML file that all pages have, with what it needs to know filled in.
func (a *api) page(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	text, err := a.read(indexFile)
	if err != nil {
		a.Log.Error("the page cannot be read", "error", err)
		http.Error(w, "the page cannot be read: see the log", http.StatusInternalServerError)
		return
	}
	caller, err := a.Guard.Who(r)
	if err != nil { // a wrong Basic password: nobody is signed in
		caller.Grants = nil
	}
	session, err := json.Marshal(a.sessionOf(caller))
	if err != nil {
		a.Log.Error("encode the session", "error", err)
		http.Error(w, "INTERNAL_ERROR", http.StatusInternalServerError)
		return
	}
	files := a.BasePath + "/static/" + a.assets.hash
	if a.DevStaticDir != "" {
		files = a.BasePath + "/static"
	}
	filled := strings.NewReplacer("{{base}}", html.EscapeString(a.BasePath+"/"), "{{assets}}", html.EscapeString(files),
		"{{session}}", string(session)).Replace(string(text))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", a.contentPolicy())
	_, _ = w.Write([]byte(filled))
}

// documentation serves a page of the documentation, to everybody as the files of the pages: nothing in it is of this cluster.
func (a *api) documentation(w http.ResponseWriter, r *http.Request, ps httprouter.Params) {
	w.Header().Set("Content-Security-Policy", a.contentPolicy())
	docs.Serve(w, r, ps.ByName("page"))
}

// contentPolicy lets pages load nothing but our own files, and Graphite's pictures.
func (a *api) contentPolicy() string {
	images := "'self' data:"
	if origin := a.Graphite.origin(); origin != "" {
		images += " " + origin
	}
	return "default-src 'self'; img-src " + images + "; style-src 'self'; script-src 'self'; connect-src 'self'; " +
		"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
}
