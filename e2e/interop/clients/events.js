// Server-Sent Events as undici sees them: its EventSource, and the bytes.
const { once } = require('node:events');
const { Agent, EventSource, request } = require('undici');
const { play } = require('./transcript.js');

/** All names under localhost are this machine, whatever its resolver says. */
const agent = () => new Agent({ connect: { lookup: (name, options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]) } });

/** The client leaves in the middle. What the function sees of it is another matter. */
async function leave(say, host) {
  const dispatcher = agent();
  const source = new EventSource(`http://${host}/linger`, { node: { dispatcher } });
  const [{ data }] = await once(source, 'message');
  say({ data });
  source.close();
  const { body } = await request(`http://${host}/three`, { dispatcher });
  say({ next: await body.text() });
}

play({
  /** The stream ends twice; the client comes back and says what it had. */
  async reconnect(say, host) {
    const source = new EventSource(`http://${host}/three`, { node: { dispatcher: agent() } });
    const all = new Promise((resolve) => {
      const hear = ({ type, data, lastEventId }) => {
        say({ type, data, lastEventId });
        if (data === 'you had 3') resolve();
      };
      for (const type of ['message', 'named', 'empty', 'bye']) source.addEventListener(type, hear);
    });
    source.addEventListener('open', () => say({ open: true }));
    source.addEventListener('error', () => say({ error: true, connecting: source.readyState === EventSource.CONNECTING }));
    await all;
    source.close();
  },
  async bytes(say, host) {
    for (const had of [undefined, '3']) {
      const headers = had && { 'last-event-id': had };
      const { statusCode, headers: fields, body } = await request(`http://${host}/three`, { dispatcher: agent(), headers });
      say({ status: statusCode, type: fields['content-type'], cache: fields['cache-control'], body: await body.text() });
    }
  },
  /** An event is there before the next is asked for: nothing waits for more. */
  async live(say, host) {
    const dispatcher = agent();
    const source = new EventSource(`http://${host}/live`, { node: { dispatcher } });
    let heard = once(source, 'message');
    for (let id = 1; id <= 3; id++) {
      const [{ data, lastEventId }] = await heard;
      say({ data, lastEventId });
      if (id === 3) source.close(); // or it would come back
      else heard = once(source, 'message');
      const { body } = await request(`http://${host}/next`, { dispatcher });
      say({ asked: await body.text() });
    }
  },
  leave,
  /** The same, where the function's manifest says `onDisconnect: Cancel`. */
  cut: leave,
});
