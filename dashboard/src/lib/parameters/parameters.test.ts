import { expect, test } from 'vitest';
import { carried, collect, draftsOf, homeOf, readJson, refusedParameters, unheld } from './drafts';
import { fieldsOf, pointer, type ParameterField } from './fields';

const schema = {
  type: 'object',
  required: ['where', 'version', 'extra'],
  properties: {
    where: { enum: ['staging', 'production'], default: 'staging' },
    version: { title: 'Version', type: 'string', pattern: '^v', description: 'A tag' },
    copies: { type: 'integer', minimum: 1, maximum: 20, default: 3 },
    share: { anyOf: [{ type: 'number' }, { type: 'null' }], default: null },
    migrate: { type: 'boolean', default: true },
    quiet: { type: 'boolean' },
    tell: { type: 'array', items: { type: 'string' } },
    ports: { type: 'array', items: { type: 'integer' } },
    regions: { type: 'array', items: { $ref: '#/$defs/region' }, default: ['eu'] },
    limits: {
      type: 'object',
      required: ['memory'],
      properties: { memory: { type: 'string' }, cpu: { type: 'number', default: 0.5 }, deep: { type: 'object' } },
    },
    api: { const: 2 },
    any: true,
    level: { oneOf: [{ const: 1, title: 'low' }, { const: 2 }] },
  },
  $defs: { region: { enum: ['eu', 'us'] } },
};
const fields = fieldsOf(schema) ?? [];
const one = (name: string): ParameterField => {
  const found = fields.find((field) => field.path[0] === name);
  if (!found) throw new Error(`no field ${name}`);
  return found;
};

test('each kind of property is a kind of field', () => {
  expect(Object.fromEntries(fields.map((field) => [field.path[0], field.kind]))).toEqual({
    where: 'choice',
    version: 'text',
    copies: 'number',
    share: 'number',
    migrate: 'flag',
    quiet: 'flag',
    tell: 'list',
    ports: 'list',
    regions: 'pick',
    limits: 'group',
    api: 'fixed',
    any: 'json',
    level: 'choice',
    extra: 'json',
  });
  expect(one('version').label).toBe('version');
  expect(one('version').hint).toBe('A tag. Matches ^v.');
  expect(one('extra').isNeeded).toBe(true);
});

test('a schema without properties is written as JSON', () => {
  for (const each of [null, undefined, true, {}, { oneOf: [{}] }, { $ref: '#' }, { $ref: 'https://example.com' }]) {
    expect(fieldsOf(each)).toBeNull();
  }
  expect(fieldsOf({ $ref: '#/$defs/a', $defs: { a: { properties: { x: {} } } } })).toHaveLength(1);
});

test('presets stand in the form, and what is left out is left out', () => {
  const drafts = draftsOf(fields);
  expect(drafts['/copies']).toBe('3');
  expect(drafts['/where']).toBe('0');
  expect(drafts['/share']).toBe('');
  const { value, errors } = collect(fields, { ...drafts, '/version': 'v1', '/extra': '{"a": 1}' });
  expect(errors).toEqual({});
  expect(value).toEqual({
    where: 'staging',
    version: 'v1',
    copies: 3,
    migrate: true,
    regions: ['eu'],
    api: 2,
    extra: { a: 1 },
  });
});

test('what is typed becomes values of their kind', () => {
  const typed = {
    ...draftsOf(fields, { version: 'v2', extra: 1 }),
    '/ports': '80\n\n 443 ',
    '/tell': ' a@b.c\n',
    '/regions': '',
    '/limits/memory': '1G',
    '/level': '1',
    '/quiet': 'false',
  };
  expect(collect(fields, typed).value).toMatchObject({
    ports: [80, 443],
    tell: ['a@b.c'],
    regions: [],
    limits: { memory: '1G', cpu: 0.5 },
    level: 2,
    quiet: false,
  });
});

test('what is wrong is said at its field', () => {
  const typed = {
    ...draftsOf(fields),
    '/copies': '30',
    '/share': 'x',
    '/ports': '1.5',
    '/any': '{',
    '/limits/cpu': '2',
  };
  const { errors } = collect(fields, typed);
  expect(Object.keys(errors).sort()).toEqual(
    ['/any', '/copies', '/extra', '/limits/memory', '/ports', '/share', '/version'].sort(),
  );
});

test('a given object comes back as it was', () => {
  const given = {
    version: 'v1',
    where: 'production',
    tell: ['x'],
    limits: { memory: '1', deep: { a: [1] } },
    extra: [1],
  };
  expect(collect(fields, draftsOf(fields, given)).value).toMatchObject(given);
});

test('what a given group leaves out is not filled in, and the order of names says nothing', () => {
  const given = { limits: { deep: { b: 1, a: 2 }, memory: '1' } };
  expect(draftsOf(fields, given)['/limits/cpu']).toBe('');
  expect(unheld(fields, given)).toEqual([]);
  expect(unheld(fields, { limits: { memory: '1', disk: 3 }, colour: 'red', copies: 2 })).toEqual(['limits', 'colour']);
});

test('a field of another kind takes over a value that it can hold', () => {
  const before = fieldsOf({ properties: { a: { enum: ['x', true] }, b: { enum: [7] }, c: { type: 'string' } } }) ?? [];
  const after =
    fieldsOf({ properties: { a: { type: 'boolean' }, b: { type: 'integer' }, c: { enum: ['y', 'z'] } } }) ?? [];
  expect(carried(before, { '/a': '0', '/b': '0', '/c': 'z' }, after)).toEqual({ '/a': '', '/b': '7', '/c': '1' });
  expect(carried(before, { '/a': '1', '/b': '', '/c': 'q' }, after)).toEqual({ '/a': 'true', '/b': '', '/c': '' });
});

test('a text with a preset can be emptied', () => {
  const some = fieldsOf({ properties: { name: { type: 'string', default: 'x' } } }) ?? [];
  expect(collect(some, { '/name': '' }).value).toEqual({ name: '' });
});

test('the refusal of the daemon is taken apart', () => {
  const message =
    '/limits/memory is required; /share does not fit: this is less than 0; or so; /tell/0 does not fit: no';
  const errors = refusedParameters(message, ['limits', 'memory']);
  expect(errors).toEqual({
    '/limits/memory': 'It is required.',
    '/share': 'It does not fit: this is less than 0; or so.',
    '/tell/0': 'It does not fit: no.',
  });
  expect(homeOf('/tell/0', draftsOf(fields))).toBe('/tell');
  expect(homeOf('/nothing', draftsOf(fields))).toBeNull();
  expect(refusedParameters('is needed by argument 1', ['a/b'])).toEqual({ '/a~1b': 'It is needed by argument 1.' });
  expect(pointer(['a/b', 'c~d'])).toBe('/a~1b/c~0d');
});

test('a whole number that a browser would round is not sent as another one', () => {
  const rounded = '9007199254740993 is too large for a page to send as it is: use the command line.';
  for (const text of ['9007199254740993', '{"a": [1, 9007199254740993]}']) {
    expect(readJson(text)).toEqual({ error: rounded });
  }
  expect(readJson('{"9007199254740993": "\\"9007199254740993", "b": -0}')).toEqual({
    value: { '9007199254740993': '"9007199254740993', b: -0 },
  });
  expect(readJson('[9223372036854776000, 0.1, 1e300]')).toEqual({ value: [9223372036854776000, 0.1, 1e300] });
  const fields = fieldsOf({ type: 'object', properties: { n: { type: 'integer' } } }) ?? [];
  expect(collect(fields, { '/n': '9007199254740993' }).errors['/n']).toMatch(/^This is too large/);
  expect(collect(fields, { '/n': '+7' })).toEqual({ value: { n: 7 }, errors: {} });
});
