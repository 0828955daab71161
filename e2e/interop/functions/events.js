// Server-Sent Events.
const { createServer } = require('node:http');
const { once, EventEmitter } = require('node:events');

const next = new EventEmitter();

// Line ends of all kinds, comments, lines of data that belong together, a field that nobody knows.
const EVENTS = [
  'data: plain\n\n',
  ': a comment\nevent: named\ndata: first line\ndata: second line\ndata\n\n',
  'data: {"crlf": true}\r\n\r\n',
  ':\n\ndata:no space, ☃\nunknown: field\n\n',
  'event: empty\ndata:\n\n',
  'data: the last\n\n',
];

const routes = {
  /** Three events, from the one after the last that the client has had. */
  async '/three'(request, response) {
    const had = Number(request.headers['last-event-id'] ?? 0);
    response.write('retry: 30\n\n');
    for (let id = had + 1; id <= had + 3 && id <= EVENTS.length; id++) response.write(`id: ${id}\n${EVENTS[id - 1]}`);
    response.end(`event: bye\ndata: you had ${had}\n\n`);
  },
  /** The next event when another request asks for it. */
  async '/live'(request, response) {
    for (let id = 1; id <= 3; id++) {
      response.write(`id: ${id}\ndata: ${id}\n\n`);
      await once(next, 'asked');
    }
    response.end();
  },
  async '/next'(request, response) {
    response.end(`${next.emit('asked')}`);
  },
  /** An event every 20 ms, until the client is seen to leave or a second is over. */
  async '/linger'(request, response) {
    let left = 50;
    const ticks = setInterval(() => (left-- ? response.write('data: still here\n\n') : response.end()), 20);
    await once(response, 'close');
    clearInterval(ticks);
    console.log(`seen: linger ${response.writableFinished ? 'finished' : 'cancelled'}`);
  },
};

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/event-stream; charset=utf-8');
  response.setHeader('cache-control', 'no-store');
  response.flushHeaders();
  routes[request.url](request, response);
});
server.keepAliveTimeout = 0; // whoever opened a connection closes it
server.listen(process.env.PORT, () => console.log(`listening on ${server.address().port}`));
// Answers that run are finished, and those that were cut are seen to be.
process.on('SIGTERM', () => server.close(() => process.exit()));
