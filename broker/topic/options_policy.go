package topic

import (
	"encoding/json"
	"fmt"
	"slices"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// durabilityOption is the one option that is a topic's level.
const durabilityOption = "durability"

// Patterns are the options that the node's configuration has for topics and channels whose names fit.
type Patterns struct {
	Topics   []policy.Pattern
	Channels []policy.Pattern // of TOPIC/CHANNEL
}

// SetPatterns puts other patterns in force, for topics and channels that are there too. A topic's level stays as it is.
func (r *Registry) SetPatterns(p Patterns) {
	r.patterns.Store(&p)
	r.create.Lock() // whoever makes a topic has seen them, or it is in the list
	//lint:ignore SA2001 it is waited for, and nothing is kept out
	r.create.Unlock()
	for _, t := range r.unsorted() {
		t.pub.Lock()
		t.applyOptionsLocked()
		t.pub.Unlock()
		t.unheeded()
	}
}

// place says whose options are meant: the topic's when there is no channel.
func (t *Topic) place(channel string) policy.Place {
	logged := t.d != nil && !protocol.IsEphemeral(channel)
	return policy.Place{Topic: t.name, Channel: channel, Logged: logged, Replicated: t.led != nil, MaxMsgTimeout: t.registry.limits.Load().MaxMsgTimeout}
}

func (t *Topic) layer(set *policy.Set) policy.Layer {
	if t.led != nil { // what one node's configuration says is not what the others' do
		return policy.Layer{Name: t.name, Set: set}
	}
	return policy.Layer{Name: t.name, Set: set, Patterns: t.registry.patterns.Load().Topics}
}

func (c *Channel) layer(set *policy.Set) policy.Layer {
	if c.topic.led != nil {
		return policy.Layer{Name: c.topic.name + "/" + c.name, Set: set, Channel: true}
	}
	return policy.Layer{Name: c.topic.name + "/" + c.name, Set: set, Patterns: c.topic.registry.patterns.Load().Channels, Channel: true}
}

// policyOf returns what holds for a channel or, for its own backlog, for the topic.
func (t *Topic) policyOf(c *Channel) *policy.Policy {
	own := t.layer(t.set.Load())
	if c == t.own {
		return policy.Of(t.place(""), own)
	}
	return policy.Of(t.place(c.name), c.layer(c.set.Load()), own)
}

// applyOptionsLocked puts in force what the options of the topic and its channels say now. Topic.pub is held, or nobody knows the topic.
func (t *Topic) applyOptionsLocked() {
	for _, c := range t.all() {
		t.applyOptionsTo(c)
	}
}

// applyOptionsTo is applyOptionsLocked for one channel, or the topic's own backlog.
func (t *Topic) applyOptionsTo(c *Channel) {
	p := t.policyOf(c)
	if c == t.own {
		t.policy.Store(p)
		t.applyDedup(p)
		if p != nil && p.Overflow == policy.ToDeadLetter { // it has none: publishes are refused
			own := *p
			own.Overflow, p = policy.Reject, &own
		}
	}
	node := t.policy.Load()
	sized := p != nil && p.MaxBytes > 0 || node != nil && node.MaxBytes > 0
	ordered := node
	if !node.Orders() || c == t.own || t.d == nil {
		ordered = nil
	}
	traced := node != nil && node.Trace && c != t.own && t.d != nil && !c.ephemeral
	c.enterNow()
	if !c.machine.SetPolicy(p, ordered, sized, traced) {
		c.exit()
		return
	}
	c.enforce()
	c.exit()
	c.measure()
	c.makeRoom(t.d == nil)
	if p != nil {
		t.registry.watchIdle(p.IdleDelete)
	}
}

// Policy returns the options that hold for the topic itself, nil when all have their defaults.
func (t *Topic) Policy() *policy.Policy { return t.policy.Load() }

// Policy returns the options that hold for the channel, nil when all have their defaults.
func (c *Channel) Policy() *policy.Policy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Policy()
}

// Options returns all options of the topic as they count now, by name. It waits for no disk.
func (t *Topic) Options() map[string]policy.Value {
	all := policy.Effective(t.place(""), t.layer(t.set.Load()))
	level := all[durabilityOption]
	level.Value, level.Source, level.Pattern = t.Durability().String(), policy.ByNode, ""
	level.Default = t.registry.levelOf(t.name).String()
	if t.ephemeral {
		level.Default = Memory.String()
	}
	if t.levelChosen() {
		level.Source = policy.ByTopic
	}
	all[durabilityOption] = level
	return all
}

// Options returns all options of the channel as they count now, by name. It waits for no disk.
func (c *Channel) Options() map[string]policy.Value {
	t := c.topic
	return policy.Effective(t.place(c.name), c.layer(c.set.Load()), t.layer(t.set.Load()))
}

// OptionsSet returns the options that were set for the channel by a call, by name. It must not be changed.
func (c *Channel) OptionsSet() map[string]any { return c.set.Load().Values() }

// levelChosen reports whether somebody has set the topic's level.
func (t *Topic) levelChosen() bool {
	if t.d != nil {
		return t.d.levels.set.Load()
	}
	return t.chosen.Load()
}

// SetOptions changes options of the topic, each a JSON value by its name; null puts the default back. It returns once they are kept, and
// changes nothing when one of them cannot be: then it fails with a policy.Error, or as SetDurability does. A topic that it moves between
// level memory and the others is another Topic from then on.
func (t *Topic) SetOptions(changes map[string]json.RawMessage) error {
	r := t.registry
	r.configuring.Lock()
	defer r.configuring.Unlock()
	set, err := t.set.Load().With(changes, false)
	if err != nil {
		return err
	}
	level, chosen, err := t.levelIn(changes)
	if err != nil {
		return err
	}
	if err := t.checkOptions(set, level); err != nil {
		return err
	}
	return t.put(set, level, chosen)
}

// levelIn returns the level that the topic is to have, and whether it is chosen for it.
func (t *Topic) levelIn(changes map[string]json.RawMessage) (l Level, chosen bool, err error) {
	raw, ok := changes[durabilityOption]
	switch {
	case !ok || t.led != nil && (string(raw) == "null" || string(raw) == `"fsync"`):
		return t.Durability(), t.levelChosen(), nil
	case t.led != nil:
		return l, false, &policy.Error{Name: durabilityOption, Text: "must be fsync: a replicated topic has no other level yet", Value: raw}
	case string(raw) == "null":
		if l = t.registry.levelOf(t.name); t.ephemeral {
			l = Memory
		}
		return l, false, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return l, false, err // it was checked before
	}
	l, err = ParseLevel(text)
	switch {
	case err != nil:
		return l, false, err
	case t.ephemeral && l > Memory:
		return l, false, ErrEphemeral
	}
	return l, true, nil
}

// checkOptions returns why options do not go together at a level: those of the topic, and those of its channels with them.
func (t *Topic) checkOptions(set *policy.Set, level Level) error {
	own := t.layer(set)
	at := t.place("")
	at.Logged = level > Memory
	if err := policy.Check(at, own); err != nil {
		return err
	}
	for _, c := range t.Channels() {
		at.Channel, at.Logged = c.name, level > Memory && !c.ephemeral
		if err := policy.Check(at, c.layer(c.set.Load()), own); err != nil {
			return fmt.Errorf("channel %s, %w", c.name, err)
		}
		if err := t.checkTarget(policy.Of(at, c.layer(c.set.Load()), own)); err != nil {
			return fmt.Errorf("channel %s, %w", c.name, err)
		}
	}
	return nil
}

// put puts options and a level in force and returns once they are kept.
func (t *Topic) put(set *policy.Set, level Level, chosen bool) error {
	if err := t.needOptions(set, level); err != nil {
		return err
	}
	if (t.d == nil) != (level == Memory) {
		return t.registry.remake(t, level, chosen, set)
	}
	t.pub.Lock()
	if t.exiting.Load() {
		t.pub.Unlock()
		return ErrExiting
	}
	t.set.Store(set)
	if t.d == nil {
		t.chosen.Store(chosen && !t.ephemeral)
	} else {
		t.d.levels.now.Store(uint32(level))
		t.d.levels.set.Store(chosen)
	}
	t.applyOptionsLocked()
	t.retainLocked()
	var err error
	if t.d != nil {
		at := t.d.append(journal.Change{Op: journal.OpOptions, Options: t.d.options()})
		t.pub.Unlock()
		err = t.syncTo(at)
	} else {
		t.pub.Unlock()
		err = t.registry.save()
	}
	t.registry.changed()
	return err
}

// needOptions returns once the folder says that there are options, when those of the topic or its channels are to be kept in the log.
func (t *Topic) needOptions(set *policy.Set, level Level) error {
	if t.led != nil { // they are in the log of its group
		return nil
	}
	for _, c := range t.Channels() {
		if err := t.registry.needOptions(c.set.Load(), level > Memory); err != nil {
			return err
		}
	}
	place := t.place("")
	place.Logged = level > Memory
	if err := t.registry.needRetention(policy.Of(place, t.layer(set)), level > Memory); err != nil {
		return err
	}
	return t.registry.needOptions(set, level > Memory)
}

// SetOptions changes options of the channel, as those of a topic are.
func (c *Channel) SetOptions(changes map[string]json.RawMessage) error {
	t := c.topic
	r := t.registry
	r.configuring.Lock()
	defer r.configuring.Unlock()
	set, err := c.set.Load().With(changes, true)
	if err != nil {
		return err
	}
	if err := policy.Check(t.place(c.name), c.layer(set), t.layer(t.set.Load())); err != nil {
		return err
	}
	if err := t.checkTarget(policy.Of(t.place(c.name), c.layer(set), t.layer(t.set.Load()))); err != nil {
		return err
	}
	if err := r.needOptions(set, t.d != nil && t.led == nil && !c.ephemeral); err != nil {
		return err
	}
	t.pub.Lock()
	if t.exiting.Load() || !slices.Contains(t.Channels(), c) {
		t.pub.Unlock()
		return ErrExiting
	}
	c.set.Store(set)
	t.applyOptionsTo(c)
	if t.d != nil && !c.ephemeral {
		at := t.d.append(c.optionsChange())
		t.pub.Unlock()
		err = t.syncTo(at)
	} else {
		t.pub.Unlock()
		err = r.save()
	}
	r.changed()
	return err
}

// optionsChange is the record of the channel's options.
func (c *Channel) optionsChange() journal.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	return journal.Change{Op: journal.OpOptions, Topic: c.topic.d.id, Channel: c.id, Options: c.keptOptions()}
}

// restoreSet gives a channel that nobody knows yet its options.
func (c *Channel) restoreSet(set *policy.Set) {
	if set == nil {
		return
	}
	c.set.Store(set)
	c.topic.applyOptionsTo(c)
	if c.topic.d != nil && !c.ephemeral {
		c.topic.store.change(c.optionsChange())
	}
}

// restoreSet gives a topic that nobody knows yet, or that has no messages yet, its options.
func (t *Topic) restoreSet(set *policy.Set) {
	if set == nil {
		return
	}
	t.set.Store(set)
	t.applyOptionsLocked()
	if t.d != nil {
		t.store.change(journal.Change{Op: journal.OpOptions, Options: t.d.options()})
	}
}

// encodeOptions returns options as they are kept, nil when there are none.
func encodeOptions(raw map[string]json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	b, err := json.Marshal(raw)
	if err != nil {
		panic(fmt.Sprintf("topic: options that cannot be encoded: %v", err)) // they were parsed
	}
	return b
}

// decodeOptions reads options that are kept; what is no object is none.
func decodeOptions(b json.RawMessage) (raw map[string]json.RawMessage) {
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	return raw
}

// save has the list of topics written down, where topics at level memory have their options.
func (r *Registry) save() error {
	if r.cfg.Save == nil {
		return nil
	}
	return r.cfg.Save()
}
