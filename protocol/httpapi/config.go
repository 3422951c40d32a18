package httpapi

import "time"

// ConfigValue returns what a pointer to an option points to as /config shows it: texts, bools and whole numbers as they are, durations
// as int64 nanoseconds, lists never nil. ok is false for a pointer to anything else.
func ConfigValue(pointer any) (value any, ok bool) {
	switch v := pointer.(type) {
	case *string:
		return *v, true
	case *bool:
		return *v, true
	case *int:
		return *v, true
	case *int64:
		return *v, true
	case *time.Duration:
		return int64(*v), true
	case *[]string:
		return append([]string{}, *v...), true
	}
	return nil, false
}
