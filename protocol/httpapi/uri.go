package httpapi

import (
	"net/url"
	"strings"
)

// LoggedURI returns the path and the arguments of a URL as they may stand in a log: without what they say of the content of messages, which
// are the values of contains, key and dedup.
func LoggedURI(u *url.URL) string {
	args := strings.Split(u.RawQuery, "&")
	hidden := false
	for i, arg := range args {
		raw, value, _ := strings.Cut(arg, "=")
		name, err := url.QueryUnescape(raw)
		if err != nil || value == "" {
			continue
		}
		switch name {
		case "contains", "key", "dedup":
			args[i], hidden = raw+"=...", true
		}
	}
	if !hidden {
		return u.RequestURI()
	}
	shown := *u
	shown.RawQuery = strings.Join(args, "&")
	return shown.RequestURI()
}
