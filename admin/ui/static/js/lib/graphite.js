// Links to a Graphite that the daemons' statsd figures go to. admind keeps its own history; this is only the way out.
import { base } from "./router.js";
import { session } from "./session.js";

const clean = (name) => name.replace(/[^A-Za-z0-9_.-]/g, "");

/** graphiteLink leads to the plot of a topic's or channel's depth on all nodes; null where there is no Graphite. */
export function graphiteLink(topic, channel) {
  const g = session.graphite;
  if (!g) return null;
  const key = `${g.prefix.replace("%s", "*")}.topic.${clean(topic)}.${channel ? `channel.${clean(channel)}.` : ""}depth`;
  const target = `sumSeries(${g.gauge_format.replace("%s", key)})`;
  const address = g.url ? g.url.replace(/\/*$/, "/") : base;
  return `${address}render?${new URLSearchParams({ target, from: "-2h", width: "800", height: "450" })}`;
}
