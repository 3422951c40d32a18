package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// filter decides by a message's JSON what of it is relayed. Its zero value relays everything as it is.
type filter struct {
	whitelist []string // top-level fields that are kept; none means the body stays as it is
	field     string   // that a message must have
	value     string   // that the field must have, unless empty
}

// errUnwanted is a message that the filter leaves out.
var errUnwanted = errors.New("not wanted")

func (f *filter) idle() bool { return len(f.whitelist) == 0 && f.field == "" }

// apply returns the body to relay. The error is errUnwanted for a message that lacks what is required, and another one for
// a body that is no JSON object.
func (f *filter) apply(body []byte) ([]byte, error) {
	if f.idle() {
		return body, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if fields == nil {
		return nil, errors.New("not a JSON object but null")
	}
	if f.field != "" {
		got, ok := fields[f.field]
		if !ok || f.value != "" && !equals(got, f.value) {
			return nil, errUnwanted
		}
	}
	if len(f.whitelist) == 0 {
		return body, nil
	}
	kept := make(map[string]json.RawMessage, len(f.whitelist))
	for _, name := range f.whitelist {
		if v, ok := fields[name]; ok {
			kept[name] = v
		}
	}
	return json.Marshal(kept) // keys sorted, values as they were but for white space
}

// equals reports whether a JSON value is what the flag says: a string by its text, a number by its value, true and false by
// their words. null, objects and arrays never are.
func equals(value json.RawMessage, want string) bool {
	var decoded any
	if json.Unmarshal(value, &decoded) != nil {
		return false
	}
	switch v := decoded.(type) {
	case string:
		return v == want
	case float64:
		if string(value) == want {
			return true
		}
		number, err := strconv.ParseFloat(want, 64)
		return err == nil && v == number
	case bool:
		return strconv.FormatBool(v) == want
	}
	return false
}
