// The smallest function: a server on $PORT that leaves when it is told to.
const { createServer } = require('node:http');

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`Hello from ${process.env.HOSTNAME ?? 'here'}\n`);
});
server.keepAliveTimeout = 0; // whoever opened a connection closes it: no request meets one that is just going away

server.listen(process.env.PORT ?? 8080, () => console.log(`listening on ${server.address().port}`));
// As process 1 of a container Node.js ignores SIGTERM, and its pod would linger until it is killed.
process.on('SIGTERM', () => {
  server.close(() => process.exit());
  setInterval(() => server.closeIdleConnections(), 50);
});
