// What HTTP/1.1 allows and few use, as undici, Node's own client and a bare socket see it.
const { once } = require('node:events');
const http = require('node:http');
const { connect } = require('node:net');
const { Client } = require('undici');
const { play } = require('./transcript.js');

/** Fields of the answer that only its function has set. */
const OURS = /^(say-|set-cookie|content-|etag|location|cache-control|trailer)/;
const fields = (headers) => Object.fromEntries(Object.entries(headers).filter(([name]) => OURS.test(name)).sort());

function undici(host, port) {
  const client = new Client(`http://127.0.0.1:${port}`, { pipelining: 1 });
  return async (path, { headers, ...options } = {}) => {
    const { statusCode, headers: answered, body, trailers } = await client.request({ method: 'GET', path, headers: { host, ...headers }, ...options });
    const bytes = Buffer.from(await body.arrayBuffer());
    return { status: statusCode, headers: fields(answered), bytes, trailers };
  };
}

/** A request of Node's own client on a connection of its own. */
const ask = (host, port, path, options) => http.request({ host: '127.0.0.1', port, path, agent: false, ...options, headers: { host, ...options.headers } });

async function told(request) {
  const [response] = await once(request, 'response');
  const body = Buffer.concat(await response.toArray());
  return { status: response.statusCode, reason: response.statusMessage, headers: fields(response.headers), body: `${body}`, trailers: response.trailers };
}

/** Sends bytes and returns all that comes until the other side ends, or until `last` has come. */
async function raw(port, text, last) {
  const socket = connect(port, '127.0.0.1');
  socket.write(text);
  let all = '';
  for await (const bytes of socket) {
    all += bytes.toString('latin1');
    if (last && all.endsWith(last)) break;
  }
  return all;
}

/** The parts of an answer that no proxy may change. */
const plain = (all) => all.split(/(?=HTTP\/1\.[01] )/).map((answer) => {
  const [head, ...body] = answer.split('\r\n\r\n');
  return { status: head.split(' ')[1], chunked: /transfer-encoding: chunked/i.test(head), body: body.join('\r\n\r\n') };
});

play({
  async methods(say, host, port) {
    const ask = undici(host, port);
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'PURGE']) {
      const { status, headers, bytes } = await ask('/mirror', { method, body: method === 'POST' ? 'a=b' : undefined });
      say({ method, status, headers, ...JSON.parse(bytes) });
    }
  },
  async heads(say, host, port) {
    const ask = undici(host, port);
    const headers = { 'say-twice': ['one', 'two'], 'say-empty': '', 'say-latin': 'na\u00efve', cookie: 'a=1; b=2', accept: '*/*', range: 'bytes=0-1', 'say-long': 'x'.repeat(8_000) };
    for (const path of ['/mirror?x=%20+%2F&x=&&y', '/a//b/%2F/%E2%98%83;v=1', '/mirror?', "/!$&'()*+,=:@-._~"]) {
      const { status, headers: back, bytes } = await ask(path, { headers });
      say({ status, back, ...JSON.parse(bytes) });
    }
  },
  async bodies(say, host, port) {
    const ask = undici(host, port);
    const sent = Buffer.alloc(8 << 20, 'eight MiB');
    const large = await ask('/large', { method: 'POST', body: sent });
    say({ large: large.bytes.length, same: large.bytes.equals(sent), headers: large.headers });
    const parts = async function* () { for (let at = 0; at < 64; at++) yield sent.subarray(at << 17, (at + 1) << 17); };
    const chunked = await ask('/large', { method: 'POST', body: parts() });
    say({ chunked: chunked.bytes.length, same: chunked.bytes.equals(sent) });
    const gzip = await ask('/gzip');
    say({ gzip: gzip.bytes.length, headers: gzip.headers, magic: gzip.bytes.subarray(0, 2).toString('hex') });
  },
  /** The next part is sent when the last is answered. */
  async duplex(say, host, port) {
    const request = ask(host, port, '/duplex', { method: 'POST' });
    request.write('part 1');
    const [response] = await once(request, 'response');
    let part = 1;
    for await (const answer of response) {
      say({ answer: `${answer}` });
      if (++part <= 5) request.write(`part ${part}`);
      else request.end();
    }
  },
  async early(say, host, port) {
    const request = ask(host, port, '/early', { method: 'POST' });
    request.write('only the beginning');
    say(await told(request));
    request.end();
    say(await told(ask(host, port, '/fixed', { method: 'GET' }).end()));
  },
  async trailers(say, host, port) {
    const request = ask(host, port, '/trailers', { method: 'POST', headers: { te: 'trailers', trailer: 'say-sum' } });
    request.write('a body with something after it');
    request.addTrailers({ 'say-sum': '30' });
    request.end();
    say(await told(request));
  },
  async continue(say, host, port) {
    for (const path of ['/mirror', '/refuse']) {
      const request = ask(host, port, path, { method: 'POST', headers: { expect: '100-continue', 'content-length': 5 } });
      request.on('continue', () => {
        say({ path, continue: true });
        request.end('hello');
      });
      request.flushHeaders();
      const { status, body } = await told(request);
      say({ path, status, body });
      request.destroy();
    }
  },
  async bodiless(say, host, port) {
    for (const [method, path] of [['HEAD', '/fixed'], ['HEAD', '/chunked'], ['HEAD', '/gzip'], ['GET', '/204'], ['GET', '/304'], ['GET', '/redirect'], ['GET', '/teapot']]) {
      say({ method, path, ...(await told(ask(host, port, path, { method }).end())) });
    }
    // Nothing comes after such a head: the next answer on the connection is whole.
    for (const path of ['/204', '/304']) {
      const all = await raw(port, `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\nGET /fixed HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
      say({ path, answers: plain(all) });
    }
  },
  async old(say, host, port) {
    // Without keep-alive the connection's end is the answer's.
    for (const path of ['/fixed', '/chunked']) say({ path, answers: plain(await raw(port, `GET ${path} HTTP/1.0\r\nhost: ${host}\r\n\r\n`)) });
    // With it the connection serves twice, where the length is known.
    const twice = `GET /fixed HTTP/1.0\r\nhost: ${host}\r\nconnection: keep-alive\r\n\r\n`.repeat(2);
    say({ kept: plain(await raw(port, `${twice}GET /fixed HTTP/1.0\r\nhost: ${host}\r\n\r\n`)) });
    const posted = `POST /large HTTP/1.0\r\nhost: ${host}\r\ncontent-length: 3\r\n\r\nold`;
    say({ posted: plain(await raw(port, posted)) });
  },
  /** All at once on one connection; the first is the slowest. */
  async pipeline(say, host, port) {
    const get = (path, more = '') => `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n${more}\r\n`;
    const post = `POST /large HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 6\r\n\r\nposted`;
    say({ answers: plain(await raw(port, get('/slow') + post + get('/fixed') + get('/204') + get('/fixed', 'connection: close\r\n'))) });
  },
  /** Another protocol, whose client says all it has to say and then listens. */
  async upgrade(say, host, port) {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write(`GET /shout HTTP/1.1\r\nhost: ${host}\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n`);
    const [head] = await once(socket, 'data');
    say({ head: `${head}`.split('\r\n').filter((line) => /^(http|connection|upgrade|say-)/i.test(line)).map((line) => line.toLowerCase()).sort() });
    socket.write('anybody there?');
    say({ shouted: `${(await once(socket, 'data'))[0]}` });
    socket.end(' goodbye');
    say({ rest: (await socket.toArray()).join('') });
  },
});
