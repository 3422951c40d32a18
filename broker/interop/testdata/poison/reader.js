// Handles what comes, but for "poison", which fails until the file FIXED is there. Prints the body and attempts of each delivery.
const fs = require("fs");
const { Reader } = require("nsqjs");

const [address, topic, channel, fixed] = process.argv.slice(2);
const reader = new Reader(topic, channel, { nsqdTCPAddresses: address, maxInFlight: 10 });
reader.on("error", (err) => { console.error(err); process.exit(1); });
reader.on("message", (message) => {
  console.log(message.body.toString(), message.attempts);
  if (message.body.toString() === "poison" && !fs.existsSync(fixed)) message.requeue(0, false); // no pause of the whole reader
  else message.finish();
});
reader.connect();
