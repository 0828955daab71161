// What the three entrypoints share: a server that listens where it is told and leaves when it is told.
const { createServer } = require('node:http');

/** Serves `answer(request, response, url)`, which may be async; an error it does not catch is a 500. */
exports.serve = (answer) => {
  const server = createServer(async (request, response) => {
    try {
      await answer(request, response, new URL('http://shop' + request.url));
    } catch (error) {
      console.error(error);
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { 'content-type': 'text/plain' }).end('Something broke; it is in the log.\n');
    }
  });
  // Whoever opened a connection closes it. Otherwise a request can meet a connection that is just going away.
  server.keepAliveTimeout = 0;
  server.listen(process.env.PORT ?? 8080, () => console.log(`listening on ${server.address().port}`));
  // As process 1 of a container Node.js ignores SIGTERM, and its pod would linger until it is killed. Requests that
  // run are finished; connections that idle are closed, also those whose last answer was just on its way out.
  process.on('SIGTERM', () => {
    server.close(() => process.exit());
    setInterval(() => server.closeIdleConnections(), 50);
  });
};

/** Answers 405 and returns false unless the request's method is one of `allowed`. */
exports.allows = (allowed, request, response) => {
  if (allowed.includes(request.method)) return true;
  response.writeHead(405, { allow: allowed.join(', '), 'content-type': 'text/plain' }).end(`Use ${allowed.join(' or ')}.\n`);
  return false;
};
