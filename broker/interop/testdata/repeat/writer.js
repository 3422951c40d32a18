// Publishes "NAME 0", "NAME 1" and so on, some of them three in one MPUB, each publish until it is answered OK. WORDS stand
// behind the topic, # in them is the number of the publish's first message. Prints what is tried, sent and has failed.
const { Writer } = require("nsqjs");

const [address, topic, name, words] = process.argv.slice(2);
const [host, port] = address.split(":");
let number = 0;
let lives = 0; // the newest writer counts: none goes on when its connection is lost

function life() {
  const mine = ++lives;
  const writer = new Writer(host, Number(port));
  const end = () => {
    if (mine !== lives) return;
    lives++;
    setTimeout(life, 20);
  };
  const next = () => {
    const bodies = (number % 5 === 2 ? [0, 1, 2] : [0]).map((i) => `${name} ${number + i}`);
    const tell = (what) => bodies.forEach((body) => console.log(what, body));
    tell("try");
    writer.publish(`${topic} ${words.replaceAll("#", number)}`, bodies.length > 1 ? bodies : bodies[0], (err) => {
      if (mine !== lives) return;
      tell(err ? "failed" : "sent");
      if (err) return end();
      number += bodies.length;
      next();
    });
  };
  writer.on("ready", next);
  writer.on("error", end);
  writer.on("closed", end);
  writer.connect();
}

process.on("uncaughtException", () => {
  // the library throws when a connection is refused
  lives++;
  setTimeout(life, 20);
});
life();
