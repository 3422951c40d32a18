package brokerctl

import (
	"encoding/json"
	"flag"

	"brokerd/apps/appkit"
)

// asJSON adds --json to a verb that asks no daemon, and returns what prints its result when that is given.
func asJSON(flags *flag.FlagSet) *jsonResult {
	r := &jsonResult{}
	flags.BoolVar(&r.wanted, "json", false, "print JSON")
	return r
}

type jsonResult struct{ wanted bool }

// print prints a result, if it is wanted as JSON, and reports whether it was.
func (r *jsonResult) print(env *appkit.Env, result any) (printed bool, err error) {
	if !r.wanted {
		return false, nil
	}
	encoder := json.NewEncoder(env.Stdout)
	encoder.SetIndent("", "  ")
	return true, encoder.Encode(result)
}
