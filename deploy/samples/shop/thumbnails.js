// /thumbnails/ID.png?size=96 draws a product's picture at the size asked for and answers it as a PNG.
const { deflateSync, crc32 } = require('node:zlib');
const { serve, allows } = require('./serve.js');
const products = new Map(require('./products.json').map((product) => [product.id, product]));

const SIZES = { least: 16, default: 96, most: 512 }; // pixels
const SAMPLES = 3; // per pixel and direction: smooths the edges

serve((request, response, url) => {
  if (!allows(['GET', 'HEAD'], request, response)) return;
  const product = products.get(/^\/thumbnails\/([a-z]+)\.png$/.exec(url.pathname)?.[1]);
  if (!product) return refuse(response, 404, `There is a picture at ${[...products.keys()].map((id) => `/thumbnails/${id}.png`).join(', ')}.\n`);
  const size = Number(url.searchParams.get('size') ?? SIZES.default);
  if (!Number.isInteger(size) || size < SIZES.least || size > SIZES.most) {
    return refuse(response, 400, `size must be a whole number from ${SIZES.least} to ${SIZES.most}.\n`);
  }
  const image = png(size, draw(product, size));
  response.writeHead(200, { 'content-type': 'image/png', 'content-length': image.length, 'cache-control': 'public, max-age=86400' }).end(image);
});

function refuse(response, status, text) {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

/** The picture's pixels, row by row, three bytes each. A drawing is shapes on a square of 100 by 100, later ones on top. */
function draw({ background, drawing }, size) {
  const shapes = drawing.map((shape) => ({ color: rgb(shape.fill), covers: cover(shape) })).reverse();
  const ground = rgb(background);
  const pixels = Buffer.alloc(size * size * 3);
  const step = 100 / (size * SAMPLES);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const sum = [0, 0, 0];
      for (let sample = 0; sample < SAMPLES * SAMPLES; sample++) {
        const x = (column * SAMPLES + (sample % SAMPLES) + 0.5) * step;
        const y = (row * SAMPLES + Math.floor(sample / SAMPLES) + 0.5) * step;
        const color = shapes.find((shape) => shape.covers(x, y))?.color ?? ground;
        for (let channel = 0; channel < 3; channel++) sum[channel] += color[channel];
      }
      for (let channel = 0; channel < 3; channel++) pixels[(row * size + column) * 3 + channel] = sum[channel] / (SAMPLES * SAMPLES);
    }
  }
  return pixels;
}

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** Says whether a point is inside a shape: circle [x, y, radius], box [x, y, width, height, corner], or polygon: convex, clockwise. */
function cover({ circle, box, polygon }) {
  if (circle) {
    const [centerX, centerY, radius] = circle;
    return (x, y) => Math.hypot(x - centerX, y - centerY) <= radius;
  }
  if (box) {
    const [left, top, width, height, corner] = box;
    return (x, y) => {
      const outX = Math.abs(x - left - width / 2) - width / 2 + corner;
      const outY = Math.abs(y - top - height / 2) - height / 2 + corner;
      return outX > 0 && outY > 0 ? Math.hypot(outX, outY) <= corner : Math.max(outX, outY) <= corner;
    };
  }
  const edges = polygon.map(([x, y], at) => [x, y, ...polygon[(at + 1) % polygon.length]]);
  return (x, y) => edges.every(([fromX, fromY, toX, toY]) => (toX - fromX) * (y - fromY) >= (toY - fromY) * (x - fromX));
}

/** A PNG as in https://www.w3.org/TR/png-3/: signature, header, one block of compressed rows, end. */
function png(size, pixels) {
  const rows = [];
  for (let row = 0; row < size; row++) rows.push(Buffer.of(0), pixels.subarray(row * size * 3, (row + 1) * size * 3)); // 0: no filter
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 2], 8); // 8 bits a channel, red-green-blue
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('IDAT', deflateSync(Buffer.concat(rows))), chunk('IEND', Buffer.alloc(0))]);
}

function chunk(type, data) {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  const check = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(typed));
  return Buffer.concat([length, typed, check]);
}
