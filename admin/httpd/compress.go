package httpd

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// writers are gzip writers that are not in use. Level 4 is two thirds of the default's time for a few percent more bytes.
var writers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, 4)
	if err != nil { // the level is in range
		panic(err)
	}
	return w
}}

// compress answers in gzip those who take it.
func compress(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		if !takesGzip(r.Header.Get("Accept-Encoding")) {
			h.ServeHTTP(w, r)
			return
		}
		zw := &gzipWriter{ResponseWriter: w}
		defer zw.close()
		h.ServeHTTP(zw, r)
	})
}

// takesGzip reports whether the header names gzip, with any weight but none at all.
func takesGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) == "gzip" {
			weight = strings.ReplaceAll(weight, " ", "")
			return weight != "q=0" && weight != "q=0.0" && weight != "q=0.00" && weight != "q=0.000"
		}
	}
	return false
}

// gzipWriter compresses an answer that has a body and is of a kind that shrinks.
type gzipWriter struct {
	http.ResponseWriter
	began bool
	gz    *gzip.Writer // nil for an answer that stays as it is
}

func (w *gzipWriter) WriteHeader(code int) {
	if !w.began {
		w.began = true
		h := w.Header()
		empty := code == http.StatusNoContent || code == http.StatusNotModified || code < 200
		if !empty && h.Get("Content-Encoding") == "" && h.Get("Content-Range") == "" && shrinks(h.Get("Content-Type")) {
			h.Del("Content-Length")
			h.Set("Content-Encoding", "gzip")
			if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
				h.Set("ETag", "W/"+tag) // the bytes are others, the content is the same
			}
			w.gz = writers.Get().(*gzip.Writer)
			w.gz.Reset(w.ResponseWriter)
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

// shrinks reports whether what has this content type is worth compressing.
func shrinks(kind string) bool {
	kind, _, _ = strings.Cut(kind, ";")
	switch kind {
	case "application/json", "application/javascript", "image/svg+xml", "application/manifest+json":
		return true
	}
	return strings.HasPrefix(kind, "text/")
}

func (w *gzipWriter) Write(p []byte) (int, error) {
	if !w.began {
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", http.DetectContentType(p))
		}
		w.WriteHeader(http.StatusOK)
	}
	if w.gz != nil {
		return w.gz.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// FlushError sends what was written so far.
func (w *gzipWriter) FlushError() error {
	if w.gz != nil {
		if err := w.gz.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *gzipWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *gzipWriter) close() {
	if w.gz == nil {
		return
	}
	_ = w.gz.Close() // its error says that the reader left
	w.gz.Reset(nil)
	writers.Put(w.gz)
}
