package journal

// earliest returns a position, or that of the first message that the channel has when that is before it.
func (c *Channel) earliest(pos Position) Position {
	for _, list := range [...][]Range{c.unsure, c.Waiting} {
		for _, r := range list {
			pos = min(pos, r.First)
		}
	}
	c.Out.Each(func(out Position, _ Out) { pos = min(pos, out) })
	return pos
}
