// WebSockets, answered by ws: an echo that takes orders. functions/sockets.py answers the same.
const { createServer } = require('node:http');
const { once } = require('node:events');
const { WebSocketServer } = require('ws');

const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => ['chat.v2', 'chat.v1'].find((protocol) => offered.has(protocol)) ?? false,
});

const orders = {
  '/who': (socket) => socket.send(`${process.pid}`),
  '/close': (socket, code, ...reason) => socket.close(Number(code), reason.join(' ')),
  '/vanish': (socket) => socket.terminate(),
  '/fragments': (socket) => ['one, ', 'two, ', 'three'].forEach((part, at) => socket.send(part, { fin: at === 2 })),
  async '/ping'(socket) {
    socket.ping('are you there?');
    socket.send(`pong: ${await once(socket, 'pong')}`);
  },
};

function serve(socket, request) {
  socket.on('message', (message, isBinary) => {
    const [order, ...words] = isBinary || message[0] !== 0x2f ? [] : `${message}`.split(' ');
    if (order in orders) orders[order](socket, ...words);
    else socket.send(message, { binary: isBinary });
  });
  if (request.url === '/watched') {
    socket.on('close', (code, reason) => console.log(`seen: closed ${code} ${reason}`.trim()));
  }
}

const server = createServer((request, response) => response.end(`${process.pid}`));
server.keepAliveTimeout = 0; // whoever opened a connection closes it
server.on('upgrade', (request, socket, head) => {
  if (request.url === '/refuse') {
    socket.end('HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nx-why: full\r\ncontent-length: 9\r\nconnection: close\r\n\r\nno entry\n');
    return;
  }
  sockets.handleUpgrade(request, socket, head, (socket) => serve(socket, request));
});
server.listen(process.env.PORT, () => console.log(`listening on ${server.address().port}`));
