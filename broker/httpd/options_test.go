package httpd

import (
	"fmt"
	"strings"
	"testing"

	"brokerd/broker/policy"
	"brokerd/cmd/cmdtest"
)

// TestThePageOfOptionsIsTheTable holds docs/reference/options.md to the table of options.
func TestThePageOfOptionsIsTheTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Options, one by one\n\nMade of the table in the code. How they are set, and which one counts, is in [Options](../options.md).\n\n" +
		"| option | default | what it does | what it takes | replicated topics |\n|---|---|---|---|---|\n")
	for i := range policy.Table {
		o := &policy.Table[i]
		value := fmt.Sprint(o.Default)
		switch {
		case o.Level:
			value = "what `--durability` says"
		case value == "":
			value = "none"
		default:
			value = "`" + value + "`"
		}
		where := ""
		switch {
		case o.TopicOnly:
			where = " Of topics only."
		case o.Own:
			where = " A channel does not take it over from its topic."
		}
		allowed := strings.TrimPrefix(o.Allowed, "must be ")
		if o.Channel != "" {
			allowed += "; of a channel " + strings.TrimPrefix(o.Channel, "must be ")
		}
		replicated := "yes"
		switch {
		case o.Unreplicated != "":
			replicated = "no: " + o.Unreplicated
		case o.Partly != "":
			replicated = "yes: " + o.Partly
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s%s | %s | %s |\n", o.Name, value, strings.ReplaceAll(o.Help, "|", "\\|"), where, allowed, replicated)
	}
	cmdtest.Document(t, "docs/reference/options.md", []byte(b.String()))
}
