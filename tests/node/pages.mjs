// Walks the dashboard as it is served: every file that its pages and scripts name, in every coding, twice.
// The environment says where: URL http://127.0.0.1:7878
import { request } from 'node:http';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

const base = process.env.URL ?? 'http://127.0.0.1:7878';
const unpack = { br: brotliDecompressSync, gzip: gunzipSync, identity: (bytes) => bytes };

/// One GET, its body as it came.
function get(path, headers) {
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, base), { headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve({ status: answer.statusCode, fields: answer.headers, body: Buffer.concat(parts) }));
      answer.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

function holds(condition, what) {
  if (!condition) throw new Error(what);
}

/// Asks in one coding, then again with what came; gives the bytes as they were built and how many came.
async function inCoding(path, coding) {
  const first = await get(path, { 'accept-encoding': coding });
  holds(first.status === 200, `${path}: ${first.status}`);
  const came = first.fields['content-encoding'] ?? 'identity';
  holds(came === coding || came === 'identity', `${path}: asked for ${coding}, got ${came}`);
  holds(first.fields['vary'] === 'accept-encoding', `${path}: vary is ${first.fields['vary']}`);
  holds(first.fields['x-content-type-options'] === 'nosniff', `${path}: sniffing is not forbidden`);
  const kept = path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache';
  holds(first.fields['cache-control'] === kept, `${path}: kept ${first.fields['cache-control']}`);
  const again = await get(path, { 'accept-encoding': coding, 'if-none-match': first.fields['etag'] });
  holds(again.status === 304 && again.body.length === 0, `${path}: ${again.status} for what we have`);
  holds(again.fields['content-length'] === undefined, `${path}: a length without bytes`);
  holds(again.fields['etag'] === first.fields['etag'], `${path}: another tag`);
  return { bytes: unpack[came](first.body), size: first.body.length, type: first.fields['content-type'] };
}

const sizes = { br: 0, gzip: 0, identity: 0 };
const seen = new Set();
const waiting = ['/', '/playground'];
while (waiting.length > 0) {
  const path = waiting.pop();
  if (seen.has(path)) continue;
  seen.add(path);
  const plain = await inCoding(path, 'identity');
  sizes.identity += plain.size;
  for (const coding of ['br', 'gzip']) {
    const packed = await inCoding(path, coding);
    holds(packed.bytes.equals(plain.bytes), `${path}: ${coding} is not the same file`);
    sizes[coding] += packed.size;
  }
  if (!/html|javascript|css/.test(plain.type)) continue;
  const text = plain.bytes.toString('utf8');
  for (const [, name] of text.matchAll(/["'`(](?:\.?\/)?(?:assets\/)?([\w.-]+-[\w-]{8}\.(?:js|css|svg|png|ttf|woff2?))["'`)]/g)) {
    waiting.push(`/assets/${name}`);
  }
}
console.log(`bytes: ${sizes.identity} plain, ${sizes.gzip} in gzip, ${sizes.br} in brotli`);
console.log(`${seen.size} files passed`);
