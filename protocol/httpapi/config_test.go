package httpapi

import (
	"encoding/json"
	"testing"
	"time"
)

// TestConfigValue holds the JSON that tools read.
func TestConfigValue(t *testing.T) {
	text, on, count, size, wait, list, none := "a b", true, 3, int64(1)<<40, 1500*time.Millisecond, []string{"x:1"}, []string(nil)
	for want, pointer := range map[string]any{
		`"a b"`: &text, "true": &on, "3": &count, "1099511627776": &size, "1500000000": &wait, `["x:1"]`: &list, "[]": &none,
	} {
		value, ok := ConfigValue(pointer)
		if got, err := json.Marshal(value); string(got) != want || err != nil || !ok {
			t.Errorf("a %T is shown as %s, %v, %v; want %s", pointer, got, err, ok, want)
		}
	}
	if _, ok := ConfigValue(new(float64)); ok {
		t.Error("a number that no option is was shown")
	}
}
