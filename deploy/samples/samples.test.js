// Runs each sample as its image does, on a free port, and asks it over HTTP: `cd deploy/samples && node --test`.
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { inflateSync } = require('node:zlib');
const http = require('node:http');

const LONGEST = 5_000; // milliseconds that any one wait may take

/** Starts a sample and returns where it listens; it is killed when the test ends. */
async function start(t, script, env = {}) {
  const child = spawn(process.execPath, [join(__dirname, script)], { env: { ...process.env, PORT: '0', ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [line] = await once(child.stdout, 'data', { signal: AbortSignal.timeout(LONGEST) });
  return { child, url: `http://127.0.0.1:${/listening on (\d+)/.exec(line)[1]}` };
}

const order = (url, sent, type = 'application/json') =>
  fetch(`${url}/api/orders`, { method: 'POST', redirect: 'manual', headers: { 'content-type': type }, body: typeof sent === 'string' ? sent : JSON.stringify(sent) });

/** An orders entrypoint with a file of its own. */
function startOrders(t, directory = mkdtempSync(join(tmpdir(), 'shop-'))) {
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return start(t, 'shop/orders.js', { ORDERS_FILE: join(directory, 'orders.jsonl') });
}

for (const script of ['hello/server.js', 'shop/catalogue.js', 'shop/orders.js', 'shop/thumbnails.js']) {
  test(`${script} leaves at SIGTERM although a connection idles`, async (t) => {
    const { child, url } = await start(t, script);
    const agent = new http.Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const [answer] = await once(http.get(url, { agent }), 'response');
    await answer.resume().toArray();
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit', { signal: AbortSignal.timeout(LONGEST) });
    assert.equal(code, 0);
  });
}

test('a request that runs is finished after SIGTERM', async (t) => {
  const { child, url } = await startOrders(t);
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const request = http.request(`${url}/api/orders`, { agent, method: 'POST', headers: { 'content-type': 'application/json', expect: '100-continue' } });
  request.flushHeaders();
  await once(request, 'continue'); // the orders entrypoint has it now
  child.kill('SIGTERM');
  request.end('{"product":"cone"}');
  const [[answer], [code]] = await Promise.all([once(request, 'response'), once(child, 'exit', { signal: AbortSignal.timeout(LONGEST) })]);
  assert.deepEqual([answer.statusCode, code], [201, 0]);
});

test('hello counts its invocations and the time that it has run', async (t) => {
  const { child, url } = await start(t, 'hello/server.js', { HOSTNAME: 'pod-1' });
  const hello = async () => /^Hello from pod-1: invocation (\d+) of this instance, which has run for ([\d.]+) of its ([\d.]+) seconds\n$/
    .exec(await (await fetch(url)).text()).slice(1).map(Number);
  assert.equal((await hello())[0], 1);
  let [invocation, ran] = await hello();
  assert.equal(invocation, 2);
  while (ran < 0.2) [invocation, ran] = await hello(); // it counts
  child.kill('SIGSTOP');
  const waited = await new Promise((resolve) => setTimeout(resolve, 500, 0.5)); // a while in which it must not count
  child.kill('SIGCONT');
  const [next, then, old] = await hello();
  assert.equal(next, invocation + 1);
  assert.ok(then < ran + waited - 0.1 && old - then > 0.3, `${ran} s, then ${then} of ${old} s`);
});

test('the catalogue lists every product with picture, price and form', async (t) => {
  const { url } = await start(t, 'shop/catalogue.js');
  const answer = await fetch(url);
  const page = await answer.text();
  assert.match(answer.headers.get('content-type'), /^text\/html/);
  for (const { id, cents } of require('./shop/products.json')) {
    assert.ok(page.includes(`src="/thumbnails/${id}.png`) && page.includes(`value="${id}"`) && page.includes((cents / 100).toFixed(2)), id);
  }
  assert.ok(!(await (await fetch(`${url}/?order=<script>`)).text()).includes('<script>'));
});

test('an order is made, found and listed, and outlives its process in its file', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'shop-'));
  const { child, url } = await startOrders(t, directory);
  const made = await order(url, { product: 'cone', quantity: 3 });
  const { id, cents } = await made.json();
  assert.deepEqual([made.status, made.headers.get('location'), cents], [201, `/api/orders/${id}`, 960]);
  assert.equal((await (await fetch(`${url}/api/orders/${id}`)).json()).quantity, 3);
  child.kill('SIGTERM');
  await once(child, 'exit', { signal: AbortSignal.timeout(LONGEST) });
  const again = await startOrders(t, directory);
  assert.deepEqual((await (await fetch(`${again.url}/api/orders`)).json()).orders.map((order) => order.id), [id]);
});

test('a form orders and is sent back to the page', async (t) => {
  const { url } = await startOrders(t);
  const answer = await order(url, 'product=tub&quantity=2', 'application/x-www-form-urlencoded');
  assert.equal(answer.status, 303);
  assert.match(answer.headers.get('location'), /^\/\?order=[0-9a-f]{8}$/);
});

test('what is no order is refused, and the answer says why', async (t) => {
  const { url } = await startOrders(t);
  const refusals = [
    [400, '{"product":'],
    [413, JSON.stringify({ product: 'x'.repeat(1_000_000) })],
    [415, 'cone', 'text/plain'],
    [422, 'null'],
    [422, { product: 'brick', quantity: 0 }, undefined, ['product', 'quantity']],
    [422, { product: 'cone', quantity: 1.5 }, undefined, ['quantity']],
    [422, 'product=cone&quantity=many', 'application/x-www-form-urlencoded', ['quantity']],
  ];
  for (const [status, sent, type, fields = []] of refusals) {
    const answer = await order(url, sent, type);
    const problem = await answer.json();
    assert.deepEqual([answer.status, Object.keys(problem.fields ?? {})], [status, fields], JSON.stringify(sent).slice(0, 80));
    assert.ok(problem.error);
  }
  assert.equal((await fetch(`${url}/api/orders/none`)).status, 404);
  const wrong = await fetch(`${url}/api/orders`, { method: 'DELETE' });
  assert.deepEqual([wrong.status, wrong.headers.get('allow')], [405, 'GET, HEAD, POST']);
  assert.deepEqual(await (await fetch(`${url}/api/orders`)).json(), { orders: [] });
});

test('a thumbnail is a PNG of the size asked for', async (t) => {
  const { url } = await start(t, 'shop/thumbnails.js');
  const answer = await fetch(`${url}/thumbnails/cone.png?size=40`);
  const image = Buffer.from(await answer.arrayBuffer());
  assert.equal(answer.headers.get('content-type'), 'image/png');
  assert.deepEqual([image.readUInt32BE(16), image.readUInt32BE(20)], [40, 40]);
  const length = image.readUInt32BE(33);
  assert.equal(inflateSync(image.subarray(41, 41 + length)).length, 40 * (1 + 40 * 3));
  for (const [status, path] of [[404, 'brick.png'], [404, 'cone.gif'], [400, 'cone.png?size=9999'], [400, 'cone.png?size=']]) {
    assert.equal((await fetch(`${url}/thumbnails/${path}`)).status, status, path);
  }
});
