// What HTTP/1.1 allows and few use.
const { createServer } = require('node:http');
const { createHash } = require('node:crypto');
const { gzipSync } = require('node:zlib');

/** Fields that the client has set: Thaw adds some of its own. */
const OURS = /^(say-|cookie|accept|content-|authorization|range)/;

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

const routes = {
  /** What came, as it came; the order of different fields means nothing. */
  async '/mirror'(request, response) {
    const body = Buffer.concat(await request.toArray());
    const headers = request.rawHeaders.map((name, at) => [name.toLowerCase(), request.rawHeaders[at + 1]]).filter((_, at) => at % 2 === 0);
    const ours = headers.filter(([name]) => OURS.test(name)).sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
    response.setHeader('set-cookie', ['a=1; Path=/', 'b=2']);
    response.setHeader('say-latin', 'na\u00efve');
    response.end(JSON.stringify({ method: request.method, url: request.url, headers: ours, bytes: body.length, digest: digest(body) }));
  },
  /** Every part is answered before the next has come, and the answer ends after the request. */
  '/duplex'(request, response) {
    response.flushHeaders();
    request.on('data', (part) => response.write(`re: ${part}`));
    request.on('end', () => response.end('the end'));
  },
  /** Answered in full before the body has come. */
  '/early'(request, response) {
    response.end('I know enough');
    request.resume();
  },
  async '/trailers'(request, response) {
    response.setHeader('trailer', 'say-count, say-digest');
    const body = Buffer.concat(await request.toArray());
    response.write(`had ${JSON.stringify(request.trailers)}`);
    response.addTrailers({ 'say-count': `${body.length}`, 'say-digest': digest(body) });
    response.end();
  },
  async '/large'(request, response) {
    const body = Buffer.concat(await request.toArray());
    response.setHeader('content-length', body.length);
    response.end(body);
  },
  '/gzip'(request, response) {
    const body = gzipSync('compressed '.repeat(1000));
    response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': body.length, etag: '"g"' });
    response.end(request.method === 'HEAD' ? undefined : body);
  },
  '/204': (request, response) => response.writeHead(204, { 'say-empty': 'yes' }).end(),
  '/304': (request, response) => response.writeHead(304, { etag: '"v1"', 'cache-control': 'max-age=60' }).end(),
  '/chunked'(request, response) {
    response.write('one, ');
    response.write('two, ');
    response.end('three');
  },
  '/fixed': (request, response) => response.writeHead(200, { 'content-length': 5 }).end('fixed'),
  '/slow': (request, response) => setTimeout(() => response.end('slow'), 200),
  '/redirect': (request, response) => response.writeHead(303, { location: '/fixed?a=b#c' }).end(),
  '/teapot': (request, response) => response.writeHead(418, 'Short and stout').end('tip me over'),
  '/refuse': (request, response) => response.writeHead(417).end('no need to send it'),
};

const server = createServer((request, response) => (routes[request.url.split('?')[0]] ?? routes['/mirror'])(request, response));
// /refuse answers without asking for the body.
server.on('checkContinue', (request, response) => {
  if (request.url !== '/refuse') response.writeContinue();
  server.emit('request', request, response);
});
// An upgrade to a protocol of our own, which says goodbye when the client has said all.
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: shout\r\nsay-hello: you\r\n\r\n');
  socket.on('data', (words) => socket.write(`${words}`.toUpperCase()));
  socket.on('end', () => socket.end('GOODBYE'));
  socket.on('error', () => {});
});
server.keepAliveTimeout = 0; // whoever opened a connection closes it
server.listen(process.env.PORT, () => console.log(`listening on ${server.address().port}`));
