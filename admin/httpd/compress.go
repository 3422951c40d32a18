package httpd

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// wrap compresses answers that are worth it for those who take gzip, streams of events as well. Level 4 is two thirds of the default's time
// for a few percent more bytes. There is no least size, for which the first event of a stream would wait.
var wrap = func() func(http.Handler) http.HandlerFunc {
	w, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(4), gzhttp.MinSize(1), gzhttp.ContentTypes([]string{
		"application/json", "application/javascript", "image/svg+xml", "application/manifest+json", "text/html", "text/plain", "text/css",
		"text/javascript", "text/event-stream", "text/csv", "text/markdown",
	}))
	if err != nil { // the settings are constants
		panic(err)
	}
	return w
}()

// compress answers in gzip those who take it. Tags of what is kept by browsers are weak, so that they hold for both forms.
func compress(h http.Handler) http.Handler { return wrap(h) }
