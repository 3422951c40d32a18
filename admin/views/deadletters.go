package views

import (
	"slices"

	"brokerd/admin/cluster"
	"brokerd/protocol/httpapi"
)

// deadLetters adds up what nodes tell of a channel's dead letters, nil when none tells anything.
func deadLetters(answers []cluster.Answer, topic, channel string) *DeadLetters {
	sum := &DeadLetters{Topics: []string{}, Refusals: []string{}, Running: []string{}, Errors: []string{}}
	some := false
	for i := range answers {
		t := told(&answers[i], topic)
		if t == nil {
			continue
		}
		j := slices.IndexFunc(t.Channels, func(c httpapi.Channel) bool { return c.ChannelName == channel })
		if j < 0 {
			continue
		}
		c, node := &t.Channels[j], answers[i].Node.ID
		some = some || c.DeadLetterTopic != "" || c.Redrive != nil || c.WaitingForTarget > 0
		if c.DeadLetterTopic != "" && !slices.Contains(sum.Topics, c.DeadLetterTopic) {
			sum.Topics = append(sum.Topics, c.DeadLetterTopic)
		}
		if sum.Waiting += c.WaitingForTarget; c.TargetRefuses != "" {
			sum.Refusals = append(sum.Refusals, node+": "+c.TargetRefuses)
		}
		r := c.Redrive
		if r == nil {
			continue
		}
		sum.Redrives++
		sum.Moved += r.Moved
		sum.InFlight += r.InFlight
		if r.Running {
			sum.Running = append(sum.Running, node)
		}
		if r.Error != "" {
			sum.Errors = append(sum.Errors, node+": "+r.Error)
		}
	}
	if !some {
		return nil
	}
	return sum
}
