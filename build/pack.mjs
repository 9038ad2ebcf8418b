// Owns how built files are packed for the program: each one compressed as well as it can be (brotli and gzip beside the
// file, left out where they save too little) and listed with its media type and a tag of its content.
// Usage: node pack.mjs DIST DIGEST. The list is written last: where it stands, everything else is there.
// What was compressed once is kept beside the packages: most files of a build are those of the build before.

import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const MEDIA_TYPES = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  ico: 'image/x-icon',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json',
  mjs: 'text/javascript; charset=utf-8',
  png: 'image/png',
  svg: 'image/svg+xml',
  ttf: 'font/ttf',
  txt: 'text/plain; charset=utf-8',
  wasm: 'application/wasm',
  webmanifest: 'application/manifest+json',
  webp: 'image/webp',
  woff: 'font/woff',
  woff2: 'font/woff2',
};
/** A coding that leaves more than this of a file is not worth its bytes in the program. */
const WORTHWHILE = 0.95;
/** Characters of a content's digest that tell it from others. */
const TAG_LENGTH = 20;

const [dist, digest] = process.argv.slice(2);
if (!dist || !digest) {
  throw new Error('usage: node pack.mjs DIST DIGEST');
}
const list = join(dist, '.packed');
const kept = join(dist, '..', 'node_modules', '.cache', 'beadle-pack');

/** Files that were built: not hidden, and not packed by a run before. */
async function built() {
  const isOwn = (path) => path.split('/').every((part) => !part.startsWith('.')) && !/\.(br|gz)$/.test(path);
  const paths = (await readdir(dist, { recursive: true })).filter(isOwn).sort();
  const found = await Promise.all(paths.map((path) => stat(join(dist, path))));
  return paths.filter((_, at) => found[at].isFile());
}

function mediaType(path) {
  const end = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  const known = MEDIA_TYPES[end];
  if (!known) {
    throw new Error(`no media type is known for ${path}: name it in build/pack.mjs`);
  }
  return known;
}

/** What `compress` makes of the file with this tag, from the kept ones when it is there. */
async function packed(tag, end, compress) {
  const path = join(kept, tag + end);
  const known = await readFile(path).catch(() => undefined);
  if (known) return known;
  const made = await compress();
  // Where nothing can be kept, it is made again the next time.
  const keep = async () => {
    await mkdir(kept, { recursive: true });
    await writeFile(`${path}.${process.pid}`, made);
    await rename(`${path}.${process.pid}`, path);
  };
  await keep().catch(() => undefined);
  return made;
}

async function put(path, plain, tag, end, compress) {
  const made = await packed(tag, end, compress);
  const target = join(dist, path + end);
  await (made.length <= plain.length * WORTHWHILE ? writeFile(target, made) : rm(target, { force: true }));
}

async function pack(path) {
  const plain = await readFile(join(dist, path));
  const tag = createHash('sha256').update(plain).digest('hex').slice(0, TAG_LENGTH);
  const best = {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
    },
  };
  const type = mediaType(path);
  await Promise.all([
    put(path, plain, tag, '.br', () => promisify(brotliCompress)(plain, best)),
    put(path, plain, tag, '.gz', () => promisify(gzip)(plain, { level: constants.Z_BEST_COMPRESSION })),
  ]);
  return [path, type, tag].join('\t');
}

await rm(list, { force: true });
const lines = await Promise.all((await built()).map(pack));
await writeFile(`${list}.new`, [digest, ...lines, ''].join('\n'));
await rename(`${list}.new`, list);
