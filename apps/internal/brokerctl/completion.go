package brokerctl

import (
	"context"
	"flag"
	"slices"
	"strings"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

func completion() appkit.Command {
	return appkit.Command{
		Name: "completion", Summary: "print what makes a shell complete brokerctl", Args: "bash|zsh|fish",
		Help: `Names of topics, channels, nodes and contexts are completed too, if a context, flags in front of them or the environment
say where the daemons are.`,
		Example: `source <(brokerctl completion bash)
brokerctl completion zsh > "${fpath[1]}/_brokerctl"
brokerctl completion fish > ~/.config/fish/completions/brokerctl.fish`,
		Alone: true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			out := asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				if !out.wanted {
					return appkit.WriteCompletion(New(), env.Args[0], env.Stdout)
				}
				var script strings.Builder
				if err := appkit.WriteCompletion(New(), env.Args[0], &script); err != nil {
					return err
				}
				_, err := out.print(env, map[string]string{"shell": env.Args[0], "script": script.String()})
				return err
			}
		},
	}
}

// names returns the names that daemons know. Who does not answer within ctx is left out: the worst is no candidate.
func names(ctx context.Context, kind string, line appkit.Line) (names []string) {
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{Token: line.Token, TLS: line.TLS})
	f := fleet.New(client, line.Brokers, line.Lookups)
	defer f.Close()
	if kind == "NODE" {
		names, _ = f.Brokers(ctx, "")
		return names
	}
	topic := ""
	if kind == "CHANNEL" {
		if len(line.Args) == 0 {
			return nil
		}
		topic = line.Args[0]
		for _, a := range fleet.Each(f.Lookups(), func(address string) (found httpapi.Channels, err error) {
			err = f.Get(ctx, address, query("/channels", topic, ""), &found)
			return found, err
		}) {
			names = append(names, a.Value.Channels...)
		}
	} else {
		names, _ = f.Topics(ctx)
	}
	for _, a := range f.Stats(ctx, line.Brokers, fleet.Query{Topic: topic}) {
		for i := range a.Value.Topics {
			t := &a.Value.Topics[i]
			if kind == "TOPIC" {
				names = append(names, t.TopicName)
				continue
			}
			for j := range t.Channels {
				names = append(names, t.Channels[j].ChannelName)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
