// Owns the tests of filling in parameters: nothing that was there or was typed gets lost between schema, fields and JSON.
import { flushSync } from 'svelte';
import { expect, it } from 'vitest';
import { ParametersForm, type Values } from './form.svelte';

const SCHEMA = {
  type: 'object',
  required: ['host'],
  properties: { host: { type: 'string' }, copies: { type: 'integer', default: 1 } },
};

/** A form under a schema that may change. */
function formOf(schema: unknown, given: Values | null = null) {
  let now = $state.raw(schema);
  let form: ParametersForm | undefined;
  const stop = $effect.root(() => {
    form = new ParametersForm(() => now, given);
  });
  flushSync();
  if (!form) throw new Error('it is made at once');
  return {
    form,
    stop,
    turnTo(next: unknown) {
      now = next;
      flushSync();
    },
  };
}

it('what is given fills the fields, and the presets the rest', () => {
  const { form, stop } = formOf(SCHEMA, { host: 'web-3' });
  expect([form.isJson, form.drafts]).toEqual([false, { '/host': 'web-3', '/copies': '1' }]);
  expect(form.read()).toEqual({ value: { host: 'web-3', copies: 1 }, errors: {} });
  stop();
});

it('what no field can hold is written as JSON', () => {
  const given = { host: 'web-3', colour: 'red' };
  const { form, stop } = formOf(SCHEMA, given);
  expect([form.isJson, form.read().value]).toEqual([true, given]);
  stop();
});

it('a schema that comes later turns what was given into fields', () => {
  const { form, turnTo, stop } = formOf(undefined, { host: 'web-3' });
  expect([form.isJson, form.read().value]).toEqual([true, { host: 'web-3' }]);
  turnTo(SCHEMA);
  expect([form.isJson, form.drafts['/host']]).toEqual([false, 'web-3']);
  form.drafts['/host'] = 'web-4';
  turnTo({ ...SCHEMA, properties: { ...SCHEMA.properties, size: { type: 'string', default: 'small' } } });
  expect(form.drafts).toEqual({ '/host': 'web-4', '/copies': '1', '/size': 'small' });
  stop();
});

it('a refusal stands at its field, and one of no field beside them', () => {
  const { form, stop } = formOf(SCHEMA, { host: 'web-3' });
  const elsewhere = { message: 'is not a name', path: ['name'] };
  const ours = { message: '/host is too long; /colour is not known', path: ['parameters', 'host'] };
  expect(form.refuse([elsewhere, ours])).toEqual([elsewhere]);
  expect([form.errorOf('/host'), form.loose.length]).toEqual(['It is too long.', 1]);
  form.send();
  expect([form.errorOf('/host'), form.loose]).toEqual([null, []]);
  stop();
});

const PLACES = { enum: ['staging', 'production'], default: 'staging' };
const WIDE = {
  type: 'object',
  properties: {
    where: PLACES,
    to: { enum: ['a', 'b'] },
    regions: { type: 'array', items: { enum: ['eu', 'us', 'asia'] } },
    copies: { type: 'integer', default: 1 },
    mode: { type: 'string', default: 'slow' },
  },
};

it('under another schema a choice keeps its value, and one that is no option any more is empty', () => {
  const { form, turnTo, stop } = formOf(WIDE, { mode: 'slow' });
  Object.assign(form.drafts, { '/where': '1', '/to': '0', '/regions': '0,2' });
  turnTo({
    type: 'object',
    properties: {
      ...WIDE.properties,
      where: { ...PLACES, enum: ['local', 'staging', 'production'] },
      to: { enum: ['b', 'c'] },
      regions: { type: 'array', items: { enum: ['asia', 'us'] } },
    },
  });
  expect(form.drafts).toEqual({ '/where': '2', '/to': '', '/regions': '0', '/copies': '1', '/mode': 'slow' });
  expect(form.read().value).toEqual({ where: 'production', regions: ['asia'], copies: 1, mode: 'slow' });
  stop();
});

it('presets that nobody touched follow the schema; what was given or typed stays, also while it does not fit', () => {
  const { form, turnTo, stop } = formOf(WIDE, { mode: 'slow' });
  form.drafts['/copies'] = '3 or 4';
  turnTo({
    type: 'object',
    properties: {
      ...WIDE.properties,
      where: { ...PLACES, default: 'production' },
      copies: { type: 'integer', default: 2 },
      mode: { type: 'string', default: 'fast' },
    },
  });
  expect(form.drafts).toMatchObject({ '/where': '1', '/copies': '3 or 4', '/mode': 'slow' });
  stop();
});

it('a schema without fields shows as JSON what was typed, and it is there again when fields come back', () => {
  const { form, turnTo, stop } = formOf(WIDE);
  form.drafts['/where'] = '1';
  turnTo(undefined);
  expect(form.read().value).toEqual({ where: 'production' });
  turnTo({ type: 'object', properties: { where: { enum: ['production'] }, copies: { type: 'integer', default: 5 } } });
  expect([form.isJson, form.drafts]).toEqual([false, { '/where': '0', '/copies': '5' }]);
  stop();
});

it('the form stays JSON while its fields cannot hold all of it', () => {
  const { form, stop } = formOf(SCHEMA);
  form.turn();
  form.json = '{"host": "web-3", "colour": "red"}';
  form.turn();
  expect(form.isJson).toBe(true);
  expect(form.refusal).toBe('The form cannot hold colour as it stands here, so this stays JSON.');
  form.json = '[1]';
  form.turn();
  expect([form.isJson, form.refusal, form.jsonError]).toEqual([
    true,
    null,
    'Parameters are a JSON object: {"name": "value"}.',
  ]);
  form.json = '{"host": "web-3"}';
  form.turn();
  expect([form.isJson, form.refusal, form.drafts['/host']]).toEqual([false, null, 'web-3']);
  stop();
});

it('the form does not become JSON while a field holds what does not fit; an empty one is in nobody’s way', () => {
  const { form, stop } = formOf(SCHEMA);
  form.drafts['/copies'] = 'many';
  form.turn();
  expect(form.isJson).toBe(false);
  expect([form.refusal === null, form.errorOf('/copies')]).toEqual([false, 'This is not a number.']);
  form.drafts['/copies'] = '2';
  form.turn();
  expect([form.isJson, form.refusal, form.json]).toEqual([true, null, '{\n  "copies": 2\n}']);
  stop();
});
