package storage

import (
	"fmt"
	"strings"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
)

// orderedTopic is the one of the model's topics whose messages are ordered by key, in every life.
const orderedTopic = "t2"

// orderedPatterns are the options of the ordered topic: there is room for few messages aside.
func (n *node) orderedPatterns() (all topic.Patterns) {
	p, err := policy.ParsePattern(fmt.Sprint(orderedTopic, " ordered=true ordered_ahead=", []int{1, 4, 4, 100}[n.rng.IntN(4)]), false)
	if err != nil {
		n.fail("%v", err)
	}
	all.Topics = append(all.Topics, p)
	return all
}

// keyOf returns the key of a message, empty when it has none.
func keyOf(num int) string {
	if num%5 == 0 {
		return ""
	}
	return fmt.Sprint("key ", num%4)
}

// orderOf returns where the order of a message's first delivery counts: of its channel, or of its key there; empty: nowhere.
func (s *consumer) orderOf(m *message) string {
	switch {
	case s.topic != orderedTopic:
		return s.name
	case keyOf(m.num) == "":
		return ""
	}
	return s.name + "/" + keyOf(m.num)
}

// checkTurn fails when a message of an ordered topic comes while another of its key is out.
func (n *node) checkTurn(s *consumer, p *promise) {
	key := keyOf(p.m.num)
	if s.topic != orderedTopic || key == "" {
		return
	}
	if n.turns == nil {
		n.turns = map[string]*message{}
	}
	key = s.name + "/" + key
	if out := n.turns[key]; out != nil && out != p.m && !n.mayHaveLeft(s.name, out) {
		n.fail("%s got %.12q while %.12q of the same key is out", s.name, p.m.body, out.body)
	}
	n.turns[key] = p.m
}

// mayHaveLeft reports whether a message may not be out any more.
func (n *node) mayHaveLeft(channel string, m *message) bool {
	p := n.promises[channel+"/"+m.body]
	return p == nil || p.gone.yes() || m.over() || m.loose || n.most > 0 && len(p.deliveries) >= n.most || n.dead()[channel+"/"+m.body] > 0
}

// turnsTaken says that what was out of a channel is not any more, as far as it is one of those.
func (n *node) turnsTaken(channel string, those func(*message) bool) {
	for key, m := range n.turns {
		if strings.HasPrefix(key, channel+"/") && those(m) {
			delete(n.turns, key)
		}
	}
}
