// The smallest function: a server on $PORT that leaves when it is told to.
const { createServer } = require('node:http');

let invocations = 0; // kept for the next invocation of the same instance
let ticks = 0; // ten in a second, as long as anything runs here: frozen between invocations, it stands still
setInterval(() => ticks++, 100);

const server = createServer((request, response) => {
  invocations++;
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`Hello from ${process.env.HOSTNAME ?? 'here'}: invocation ${invocations} of this instance, which has run for ${ticks / 10} of its ${process.uptime().toFixed(1)} seconds\n`);
});
server.keepAliveTimeout = 0; // whoever opened a connection closes it: no request meets one that is just going away

server.listen(process.env.PORT ?? 8080, () => console.log(`listening on ${server.address().port}`));
// As process 1 of a container Node.js ignores SIGTERM, and its pod would linger until it is killed.
process.on('SIGTERM', () => {
  server.close(() => process.exit());
  setInterval(() => server.closeIdleConnections(), 50);
});
