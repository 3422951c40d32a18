package fleet

import (
	"context"
	"slices"
)

// Leader is the word of httpapi.Topic.Role for who leads a replicated topic.
const Leader = "leader"

// Speaking leaves out, of brokers that are asked about a topic, replicas of it that another one stands for: each of them shows what the topic's leader
// has, and has the leader do what it is asked. What stays of them is the leader, or the first one when nobody says that it leads.
func (f *Fleet) Speaking(ctx context.Context, brokers []string, topic string) []string {
	if len(brokers) < 2 {
		return brokers
	}
	roles, one := make(map[string]string), ""
	for _, a := range f.Stats(ctx, brokers, Query{Topic: topic}) {
		for i := range a.Value.Topics {
			if t := &a.Value.Topics[i]; t.TopicName == topic && t.Role != "" {
				roles[a.Address] = t.Role
			}
		}
		if role := roles[a.Address]; role == Leader && roles[one] != Leader || role != "" && one == "" {
			one = a.Address
		}
	}
	return slices.DeleteFunc(slices.Clone(brokers), func(address string) bool { return address != one && roles[address] != "" })
}
