// The orders as a JSON API: POST and GET /api/orders, GET /api/orders/ID. A form may post here, too, and is sent back
// to the page.
//
// Orders live in this process and in one file of its container, so they go when the instance goes: enough to see an
// instance keep its state between requests. That is also why the manifest allows one instance only: two would keep two
// lists. A shop that wants to be paid keeps its orders in a database and lets this entrypoint scale.
const { appendFileSync, existsSync, readFileSync } = require('node:fs');
const { randomBytes } = require('node:crypto');
const { serve, allows } = require('./serve.js');
const products = new Map(require('./products.json').map((product) => [product.id, product]));

const PATH = '/api/orders';
const FILE = process.env.ORDERS_FILE ?? '/tmp/shop-orders.jsonl';
const MAX_BODY = 10_000; // bytes; an order has about a hundred
const MAX_QUANTITY = 20;

const orders = new Map();
if (existsSync(FILE)) {
  for (const line of readFileSync(FILE, 'utf8').split('\n').filter(Boolean)) keep(JSON.parse(line));
}

function keep(order) {
  orders.set(order.id, order);
}

/** An answer that is not the happy one: `fields` says what is wrong with which field. */
class Refusal extends Error {
  constructor(status, message, fields) {
    super(message);
    Object.assign(this, { status, fields });
  }
}

serve(async (request, response, url) => {
  const id = url.pathname.slice(PATH.length + 1);
  if (!allows(id ? ['GET', 'HEAD'] : ['GET', 'HEAD', 'POST'], request, response)) return;
  try {
    if (request.method === 'POST') await post(request, response);
    else if (id) get(id, response);
    else json(response, 200, { orders: [...orders.values()] });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    json(response, error.status, { error: error.message, fields: error.fields });
  }
});

async function post(request, response) {
  const type = (request.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
  const order = accept(parse(type, await body(request)));
  appendFileSync(FILE, JSON.stringify(order) + '\n');
  keep(order);
  if (type === 'application/json') json(response, 201, order, { location: `${PATH}/${order.id}` });
  else response.writeHead(303, { location: `/?order=${order.id}` }).end();
}

function get(id, response) {
  const order = orders.get(id);
  if (!order) throw new Refusal(404, `There is no order ${id} here.`);
  json(response, 200, order);
}

async function body(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    // The rest is read and dropped: leaving early would cut the connection before the answer.
    if (length <= MAX_BODY) chunks.push(chunk);
  }
  if (length > MAX_BODY) throw new Refusal(413, `An order has at most ${MAX_BODY} bytes.`);
  return Buffer.concat(chunks).toString();
}

function parse(type, text) {
  if (type === 'application/x-www-form-urlencoded') {
    const { product, quantity } = Object.fromEntries(new URLSearchParams(text));
    return { product, quantity: quantity && Number(quantity) };
  }
  if (type !== 'application/json') throw new Refusal(415, 'Send application/json.');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Refusal(400, `This is not JSON: ${error.message}`);
  }
}

/** Turns what was sent into an order, or refuses it with everything that is wrong at once. */
function accept(sent) {
  if (sent === null || typeof sent !== 'object' || Array.isArray(sent)) throw new Refusal(422, 'An order is a JSON object.');
  const { product: id, quantity = 1 } = sent;
  const product = products.get(id);
  const fields = {};
  if (!product) fields.product = `must be one of ${[...products.keys()].join(', ')}`;
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > MAX_QUANTITY) fields.quantity = `must be a whole number from 1 to ${MAX_QUANTITY}`;
  if (Object.keys(fields).length) throw new Refusal(422, 'This order cannot be filled.', fields);
  return { id: randomBytes(4).toString('hex'), product: id, quantity, cents: quantity * product.cents, at: new Date().toISOString() };
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value) + '\n');
}
