package cmdtest

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// values are what settings of all kinds take; each takes one of them.
var values = []string{"7", "true", "false", "7s", "0.25", "a", "a:77", "a:77,b:77,c:77", "a:operator=b", "127.0.0.1:77", "http://a:77/", "https://a", "10.0.0.0/8", "0660", "1%", "off", "json", "error", "post",
	"memory", "a=fsync", "a max_depth=7", "a/b max_attempts=7", "require", "require-verify", "tls1.3", "topology-aware-consumption", "0.99", "/a"}

// EveryVariable checks that each of a daemon's settings can be told by its variable, as its reference says: with one value or another the options are
// not what they are without. names are the flags', options are what the daemon makes of an environment; others stand in it besides, without which some
// settings are refused.
func EveryVariable(t *testing.T, prefix string, names []string, others map[string]string, options func(env map[string]string) (any, error)) {
	t.Helper()
	before, err := options(others)
	if err != nil || len(names) < 10 {
		t.Fatalf("%d settings, %v", len(names), err)
	}
	for _, name := range names {
		variable := prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		var last error
		if !slices.ContainsFunc(values, func(value string) bool {
			env := maps.Clone(others)
			env[variable] = value
			after, err := options(env)
			if err != nil {
				last = err
			}
			return err == nil && !reflect.DeepEqual(before, after)
		}) {
			t.Errorf("%s changes nothing, whatever it says: %v", variable, last)
		}
	}
}
