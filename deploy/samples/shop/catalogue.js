// The shop's page: every product with its thumbnail, its price and a form that orders it.
const { serve, allows } = require('./serve.js');
const products = require('./products.json');

const STYLE = `
  body { margin: 0 auto; max-width: 60rem; padding: 2rem 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #223; background: #fbfaf7 }
  h1 { margin: 0 } header p { margin: 0 0 2rem; color: #667 }
  main { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)) }
  article { display: flex; flex-direction: column; overflow: hidden; background: #fff; border: 1px solid #e6e3da; border-radius: .75rem }
  article img { width: 100%; height: auto; aspect-ratio: 1 } article div { padding: 1rem; display: flex; flex-direction: column; gap: .5rem; flex: 1 }
  h2 { font-size: 1.1rem; margin: 0 } article p { margin: 0; flex: 1; color: #556 }
  form { display: flex; gap: .5rem; align-items: center } form b { flex: 1 }
  input, button { font: inherit; padding: .3rem .6rem; border: 1px solid #ccc; border-radius: .4rem } input { width: 2.5rem }
  button { border: 0; background: #1864ab; color: #fff; cursor: pointer }
  .ordered { padding: .75rem 1rem; margin: 0 0 1.5rem; background: #e3f6e8; border-radius: .5rem } footer { margin-top: 2rem; color: #889 }`;

const escape = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

const card = ({ id, name, about, cents }) => `
    <article>
      <img src="/thumbnails/${id}.png?size=256" width="256" height="256" alt="${escape(name)}">
      <div>
        <h2>${escape(name)}</h2>
        <p>${escape(about)}</p>
        <form method="post" action="/api/orders">
          <b>€${(cents / 100).toFixed(2)}</b>
          <input type="hidden" name="product" value="${id}">
          <input type="number" name="quantity" value="1" min="1" max="20" aria-label="How many">
          <button>Order</button>
        </form>
      </div>
    </article>`;

const page = (order) => `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>The Thaw shop</title><style>${STYLE}</style></head>
<body>
  <header><h1>The Thaw shop</h1><p>Ice cream from zero.</p></header>
  ${order ? `<p class="ordered">Thank you. Your order is <a href="/api/orders/${encodeURIComponent(order)}">${escape(order)}</a>.</p>` : ''}
  <main>${products.map(card).join('')}
  </main>
  <footer>This page, <a href="/api/orders">the orders</a> and the pictures are three entrypoints of one function.</footer>
</body>
</html>
`;

serve((request, response, url) => {
  if (!allows(['GET', 'HEAD'], request, response)) return;
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': "default-src 'self'; style-src 'unsafe-inline'" });
  response.end(page(url.searchParams.get('order')));
});
