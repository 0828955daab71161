// What a client saw, as JSON lines. No ports, no process ids and no times, so that two runs can be compared.

/** Milliseconds that a scenario may take. */
const LONGEST = 20_000;

/**
 * Plays the scenarios one after the other against the address on the command line. Each gets `say`, its own host name (a function of
 * its own behind Thaw), and the port on 127.0.0.1.
 */
async function play(scenarios) {
  const [, port] = process.argv[2].split(':');
  const only = process.argv[3];
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (only && only !== name) continue;
    const say = (seen) => console.log(JSON.stringify({ scenario: name, ...seen }));
    const host = `${name}--interop.localhost:${port}`;
    const late = new Promise((_, reject) => setTimeout(reject, LONGEST, new Error('it took too long')));
    await Promise.race([scenario(say, host, Number(port)), late]).catch((error) => say({ broke: `${error.message}` }));
  }
  process.exit();
}

module.exports = { play };
