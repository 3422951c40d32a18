package httpapi

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
)

// Origins says where a daemon's settings came from.
type Origins struct {
	File     string            // that --config named, or empty
	Sources  map[string]string // by the flag's name without dashes; absent for a default
	Warnings []string          // of what was said and means nothing
}

// Of returns the source of a setting as GET /config shows it.
func (o *Origins) Of(flag string) string {
	if source := o.Sources[flag]; source != "" {
		return source
	}
	return "default"
}

// Settings is a daemon's answer to GET /config.
type Settings struct {
	File     string    `json:"file"` // of --config; empty for none
	Settings []Setting `json:"settings"`
	Warnings []string  `json:"warnings"`
}

// Setting is one setting as it is in force. Secrets are masked.
type Setting struct {
	Key    string `json:"key"`   // in the file, and behind /config/
	Flag   string `json:"flag"`  // without dashes
	Value  any    `json:"value"` // as GET /config/KEY answers it
	Source string `json:"source"`
	Reload bool   `json:"reload"` // a reload changes it; anything else needs a restart
	// Restart is what file, environment and flags have said since, of a setting that no reload changes; absent otherwise.
	Restart any `json:"after_restart,omitempty"`
}

// Option is a daemon's setting as it is read anew.
type Option struct {
	Key, Flag string
	Value     any // pointer into the options
	Reload    bool
}

// Merge changes what ours points to into what theirs does, as far as a reload changes it. Both are the same list over other options. It
// returns which of the others differ: they need a restart.
func Merge(ours, theirs []Option) (later []Option) {
	for i, o := range ours {
		to, from := reflect.ValueOf(o.Value).Elem(), reflect.ValueOf(theirs[i].Value).Elem()
		switch {
		case o.Reload:
			to.Set(from)
		case !reflect.DeepEqual(to.Interface(), from.Interface()):
			later = append(later, theirs[i])
		}
	}
	return later
}

// List returns settings as GET /config shows them. value returns one as GET /config/KEY answers it, later by its key what needs a restart.
func (o *Origins) List(options []Option, value func(key string) any, later map[string]any) Settings {
	out := Settings{File: o.File, Settings: make([]Setting, 0, len(options)), Warnings: append([]string{}, o.Warnings...)}
	for _, one := range options {
		out.Settings = append(out.Settings, Setting{
			Key: one.Key, Flag: one.Flag, Value: Mask(value(one.Key)), Source: o.Of(one.Flag), Reload: one.Reload, Restart: Mask(later[one.Key]),
		})
	}
	return out
}

// Changed notes that PUT /config/KEY has set the setting of that flag.
func (o *Origins) Changed(flag, key string) {
	sources := make(map[string]string, len(o.Sources)+1)
	for name, source := range o.Sources {
		sources[name] = source
	}
	sources[flag] = "PUT /config/" + key
	o.Sources = sources
}

// masked stands for a secret.
const masked = "******"

// Mask returns a setting's value without the secrets in it: a URL's password becomes six stars, as do the values of its arguments.
func Mask(value any) any {
	switch v := value.(type) {
	case string:
		return maskURL(v)
	case []string:
		out := make([]string, len(v))
		for i := range v {
			out[i] = maskURL(v[i])
		}
		return out
	}
	return value
}

// maskURL masks a text that is a URL, or an address with credentials before it.
func maskURL(text string) string {
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		if at := strings.LastIndexByte(text, '@'); at >= 0 && strings.Contains(text[:at], ":") {
			return masked + text[at:]
		}
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		if strings.ContainsAny(rest, "@?") {
			return scheme + "://" + masked
		}
		return text
	}
	changed := false
	if password, has := u.User.Password(); has && password != "" {
		u.User, changed = url.UserPassword(u.User.Username(), masked), true
	}
	if u.RawQuery != "" {
		q := u.Query()
		for name := range q {
			q[name] = []string{masked}
		}
		u.RawQuery, changed = q.Encode(), true
	}
	if !changed {
		return text
	}
	return strings.ReplaceAll(u.String(), url.QueryEscape(masked), masked)
}

// NotNow is why settings were not read anew whatever they say. Later they may be.
type NotNow string

// Error says why.
func (e NotNow) Error() string { return string(e) }

// Reload answers an empty PUT /config by read, which reads the settings anew. A request with a body, and settings that cannot be, are an
// *Error of status 400, a NotNow is one of 409; what is wrong stands in its text.
func Reload(req *http.Request, read func() error) error {
	if n, err := io.ReadFull(req.Body, make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return Errorf(http.StatusBadRequest, "INVALID_BODY: an empty PUT /config has the settings read anew, PUT /config/KEY changes one")
	}
	err := read()
	if err == nil {
		return nil
	}
	code, word := http.StatusBadRequest, "INVALID_SETTINGS"
	if errors.As(err, new(NotNow)) {
		code, word = http.StatusConflict, "REFUSED"
	}
	return Errorf(code, "%s: nothing has changed: %s", word, strings.ReplaceAll(err.Error(), "\n", "; "))
}
