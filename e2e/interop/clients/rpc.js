// gRPC as @grpc/grpc-js sees it. clients/rpc.py plays the same.
const grpc = require('@grpc/grpc-js');
const calls = require('../service.js');
const { play } = require('./transcript.js');

const Calls = grpc.makeGenericClientConstructor(calls, 'interop.Calls');
const BLOB = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

/** A channel of the scenario's own. */
function open(host, port) {
  return new Calls(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), { 'grpc.default_authority': host, 'grpc.enable_http_proxy': 0 });
}

/** The function's part of the metadata: Thaw adds fields of its own. */
function said(metadata) {
  const keys = Object.keys(metadata.getMap()).filter((key) => key.startsWith('say-')).sort();
  return Object.fromEntries(keys.map((key) => [key, metadata.get(key).map((value) => (Buffer.isBuffer(value) ? value.toString('hex') : value))]));
}

const ended = ({ code, details, metadata }) => ({ code: grpc.status[code], details, trailing: said(metadata) });

/** A call with one answer: the answer, the metadata before it, and how it ended. */
function one(client, name, message, metadata = new grpc.Metadata(), options = {}) {
  return new Promise((resolve) => {
    const all = {};
    const call = client[name](message, metadata, options, (error, answer) => (all.answer = answer));
    call.on('metadata', (metadata) => (all.initial = said(metadata)));
    call.on('status', (status) => setImmediate(() => resolve({ ...all, ...ended(status) })));
  });
}

/** A call with a stream of answers: these, and how it ended. */
function many(call) {
  return new Promise((resolve) => {
    const answers = [];
    call.on('data', (answer) => answers.push(`${answer}`));
    call.on('error', () => {}); // the status says it
    call.on('status', (status) => setImmediate(() => resolve({ answers, ...ended(status) })));
  });
}

const text = ({ answer, ...rest }) => ({ answer: answer && `${answer}`, ...rest });

/** What the function sees of it is another matter. */
async function cancel(say, host, port) {
  const client = open(host, port);
  const call = client.Linger(Buffer.from('x'));
  const end = many(call);
  call.once('data', () => call.cancel());
  say({ code: (await end).code });
  say(text(await one(client, 'Echo', Buffer.from('next'))));
}

play({
  async unary(say, host, port) {
    const metadata = new grpc.Metadata();
    metadata.add('say-many', 'a');
    metadata.add('say-many', 'b, c');
    metadata.add('say-blob-bin', BLOB);
    const client = open(host, port);
    say(text(await one(client, 'Echo', Buffer.from('Grüße'), metadata)));
    say(text(await one(client, 'Echo', Buffer.alloc(0))));
  },
  async serverstream(say, host, port) {
    const { answers, ...end } = await many(open(host, port).Count(Buffer.from('1000')));
    say({ first: answers[0], last: answers.at(-1), count: answers.length, ...end });
    say(await many(open(host, port).Count(Buffer.from('0'))));
  },
  async clientstream(say, host, port) {
    const client = open(host, port);
    const end = new Promise((resolve) => {
      const all = {};
      const call = client.Sum((error, answer) => (all.answer = answer));
      call.on('status', (status) => setImmediate(() => resolve(text({ ...all, ...ended(status) }))));
      for (let number = 1; number <= 1000; number++) call.write(Buffer.from(`${number}`));
      call.end();
    });
    say(await end);
  },
  /** The next message is sent when the last is answered: neither direction waits for the other's end. */
  async bidi(say, host, port) {
    const metadata = new grpc.Metadata();
    metadata.set('say-first', 'hello');
    const call = open(host, port).Talk(metadata);
    const end = new Promise((resolve) => call.on('status', resolve));
    call.on('metadata', (metadata) => say({ initial: said(metadata) }));
    let round = 1;
    call.write(Buffer.from(`round ${round}`));
    call.on('data', (answer) => {
      say({ answer: `${answer}` });
      if (++round > 5) call.end();
      else call.write(Buffer.from(`round ${round}`));
    });
    say(ended(await end));
  },
  async error(say, host, port) {
    const client = open(host, port);
    say(text(await one(client, 'Fail', Buffer.from('x'))));
    say(await many(client.FailLate(Buffer.from('x'))));
    const unknown = new Promise((resolve) => client.makeUnaryRequest('/interop.Calls/Nothing', (b) => b, (b) => b, Buffer.from('x'), resolve));
    say({ unknown: grpc.status[(await unknown).code] });
  },
  cancel,
  /** The same, where the function's manifest says `onDisconnect: Cancel`. */
  cut: cancel,
  async deadline(say, host, port) {
    const client = open(host, port);
    const within = (milliseconds) => ({ deadline: Date.now() + milliseconds });
    say(text(await one(client, 'Remaining', Buffer.from('x'), undefined, within(25_000))));
    say({ code: (await one(client, 'Slow', Buffer.from('x'), undefined, within(300))).code });
    say(text(await one(client, 'Echo', Buffer.from('next'))));
  },
  async large(say, host, port) {
    const sent = Buffer.alloc(4 << 20, BLOB);
    const { answer, ...rest } = await one(open(host, port), 'Echo', sent);
    say({ bytes: answer?.length, same: answer?.equals(sent), ...rest });
  },
  /** Calls on one connection at once, all in one instance. */
  async crowd(say, host, port) {
    const client = open(host, port);
    const all = await Promise.all(Array.from({ length: 50 }, () => one(client, 'Who', Buffer.from('x'))));
    const answers = all.map(({ answer }) => answer && `${answer}`);
    say({ codes: [...new Set(all.map(({ code }) => code))], answers: answers.filter(Boolean).length, instances: new Set(answers).size });
  },
});
