// WebSockets as ws sees them. clients/sockets.py plays the same.
const { once } = require('node:events');
const { WebSocket } = require('ws');
const { play } = require('./transcript.js');

const connect = (host, port, path = '/', protocols = [], options = {}) =>
  new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { headers: { host }, ...options });

async function open(...where) {
  const socket = connect(...where);
  await once(socket, 'open');
  return socket;
}

/** Sends a message and waits for the next. */
async function ask(socket, message) {
  socket.send(message);
  const [answer, isBinary] = await once(socket, 'message');
  return isBinary ? answer : `${answer}`;
}

/** Waits for the end. */
async function closed(socket) {
  socket.on('error', () => {}); // the code says it
  const [code, reason] = await once(socket, 'close');
  return { code, reason: `${reason}` };
}

play({
  async echo(say, host, port) {
    const socket = await open(host, port);
    for (const message of ['hello', 'Grüße ☃', '']) say({ text: await ask(socket, message) });
    say({ binary: (await ask(socket, Buffer.from([0, 255, 128, 10]))).toString('hex') });
    socket.close();
    say(await closed(socket));
  },
  /** Uncompressed, so that all of it goes over the wire. */
  async large(say, host, port) {
    const socket = await open(host, port, '/', [], { perMessageDeflate: false });
    const sent = Buffer.alloc(16 << 20, 'sixteen MiB');
    const answer = await ask(socket, sent);
    say({ bytes: answer.length, same: answer.equals(sent), extensions: socket.extensions });
  },
  async fragments(say, host, port) {
    const socket = await open(host, port);
    socket.send('one, ', { fin: false });
    socket.ping('between'); // control frames may come between fragments
    socket.send('two, ', { fin: false });
    const [pong] = await once(socket, 'pong');
    say({ between: `${pong}` });
    say({ whole: await ask(socket, 'three') });
    say({ whole: await ask(socket, '/fragments') });
  },
  async ping(say, host, port) {
    const socket = await open(host, port);
    socket.ping('anybody?');
    say({ pong: `${await once(socket, 'pong')}` });
    say({ text: await ask(socket, '/ping') });
  },
  async close(say, host, port) {
    for (const [code, reason] of [[1000, 'bye'], [1001, 'going away'], [3001, ''], [4001, 'raison d’être ☃']]) {
      const socket = await open(host, port, '/watched');
      socket.close(code, reason);
      say({ client: await closed(socket) });
    }
    for (const order of ['1000 bye', '1001 going away', '3001', '4999 grün']) {
      const socket = await open(host, port);
      socket.send(`/close ${order}`);
      say({ server: await closed(socket) });
    }
  },
  async abrupt(say, host, port) {
    const socket = await open(host, port, '/watched');
    say({ text: await ask(socket, 'hello') });
    socket.terminate();
    say(await closed(socket));
    const other = await open(host, port);
    other.send('/vanish');
    say(await closed(other));
    say({ text: await ask(await open(host, port), 'and on it goes') });
  },
  async choices(say, host, port) {
    for (const [protocols, options] of [
      [['chat.v1', 'chat.v2'], {}],
      [['chat.v1'], { perMessageDeflate: false }],
      [[], { perMessageDeflate: { clientNoContextTakeover: true, serverNoContextTakeover: true } }],
    ]) {
      const socket = await open(host, port, '/', protocols, options);
      const text = await ask(socket, 'compress me, compress me, compress me');
      say({ protocol: socket.protocol, extensions: socket.extensions, text });
      socket.close();
      await closed(socket);
    }
  },
  async refused(say, host, port) {
    const socket = connect(host, port, '/refuse');
    const [, answer] = await once(socket, 'unexpected-response');
    const body = await answer.toArray();
    say({ status: answer.statusCode, why: answer.headers['x-why'], body: body.join('') });
    say({ text: await ask(await open(host, port), 'this one may') });
  },
  /** Longer than the function's clock for its first byte, which has come. */
  async quiet(say, host, port) {
    const socket = await open(host, port);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    say({ text: await ask(socket, 'still here') });
  },
  async crowd(say, host, port) {
    const sockets = await Promise.all(Array.from({ length: 200 }, () => open(host, port)));
    const echoes = await Promise.all(sockets.map((socket, at) => ask(socket, `I am ${at}`)));
    const instances = new Set(await Promise.all(sockets.map((socket) => ask(socket, '/who'))));
    sockets.forEach((socket) => socket.close());
    await Promise.all(sockets.map(closed));
    say({ right: echoes.filter((echo, at) => echo === `I am ${at}`).length, instances: instances.size });
  },
});
