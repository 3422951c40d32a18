package cmdkit

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/BurntSushi/toml"

	"brokerd/protocol/wholefile"
)

// file is what the TOML file says; its zero value says nothing.
type file struct {
	path   string
	values map[string]any
}

// readFile reads the file that --config or the environment names, if any.
func (p Program) readFile(given map[string][]string, env map[string]string) (file, error) {
	path, source := env[p.variable(flagConfig)], "from the environment variable "+p.variable(flagConfig)
	if paths := given[flagConfig]; len(paths) > 0 && paths[len(paths)-1] != "" {
		path, source = paths[len(paths)-1], "from the flag"
	}
	if path == "" {
		return file{}, nil
	}
	f := file{path: path}
	text, err := wholefile.Read(path)
	if err == nil {
		_, err = toml.Decode(string(text), &f.values)
	}
	if err != nil {
		return f, fmt.Errorf("--%s must be a readable TOML file, not %q: %w (%s)", flagConfig, path, err, source)
	}
	return f, nil
}

// fromFile turns a TOML value into the texts that the flag would be given for it.
func (s Setting) fromFile(value any) ([]string, error) {
	elements, ok := value.([]any)
	if !ok {
		text, err := s.scalar(value)
		if err != nil {
			return nil, err
		}
		return s.split(text), nil
	}
	if !s.isList() {
		return nil, fmt.Errorf("--%s must be one value, not a list", s.Name)
	}
	var texts []string
	for _, element := range elements {
		text, err := s.scalar(element)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// scalar turns one TOML value into text. Whole numbers are milliseconds where a duration is wanted.
func (s Setting) scalar(value any) (string, error) {
	_, wantsText := s.Value.(*string)
	if _, ok := s.Value.(*[]string); ok {
		wantsText = true
	}
	if text, ok := value.(string); ok {
		return text, nil
	}
	if wantsText {
		return "", fmt.Errorf("--%s must be text in quotes, not %v", s.Name, value)
	}
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case int64:
		if _, ok := s.Value.(*time.Duration); ok {
			return milliseconds(s.Name, v)
		}
		return strconv.FormatInt(v, 10), nil
	}
	return "", fmt.Errorf("--%s must be a single value, not %v", s.Name, value)
}

var errTooLong = errors.New("must be at most 292 years in milliseconds")

// milliseconds writes a whole number of milliseconds as a duration's text.
func milliseconds(name string, v int64) (string, error) {
	d := time.Duration(v) * time.Millisecond
	if d/time.Millisecond != time.Duration(v) {
		return "", fmt.Errorf("--%s %w, not %d", name, errTooLong, v)
	}
	return d.String(), nil
}
