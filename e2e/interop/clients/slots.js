// Behind Thaw only: an open socket is an invocation that runs. Four instances at most, one socket in each.
const { once } = require('node:events');
const { WebSocket } = require('ws');
const { request } = require('undici');
const { play } = require('./transcript.js');

const MOST = 4;

const connect = (host, port) => new WebSocket(`ws://127.0.0.1:${port}/`, { headers: { host } });

async function who(socket) {
  socket.send('/who');
  return `${(await once(socket, 'message'))[0]}`;
}

async function get(host, port) {
  const { statusCode, headers, body } = await request(`http://127.0.0.1:${port}/`, { headers: { host } });
  const text = await body.text();
  return { status: statusCode, error: headers['thaw-error'], text };
}

play({
  async slots(say, host, port) {
    const sockets = Array.from({ length: MOST }, () => connect(host, port));
    await Promise.all(sockets.map((socket) => once(socket, 'open')));
    const instances = await Promise.all(sockets.map(who));
    say({ sockets: MOST, instances: new Set(instances).size });

    // Nobody is free for a request, nor for another socket.
    const [{ status, error }, [, answer]] = await Promise.all([get(host, port), once(connect(host, port), 'unexpected-response')]);
    say({ request: { status, error } });
    say({ socket: { status: answer.statusCode, error: answer.headers['thaw-error'] } });
    answer.destroy();

    // A socket that ends, in whatever way, makes its instance free: for a request, and for a socket.
    for (const [at, end] of ['close', 'terminate'].entries()) {
      sockets[at][end]();
      const { status, text } = await get(host, port);
      const next = connect(host, port);
      await once(next, 'open');
      say({ after: end, status, sameInstance: text === instances[at], sameAgain: (await who(next)) === instances[at] });
    }
  },
});
