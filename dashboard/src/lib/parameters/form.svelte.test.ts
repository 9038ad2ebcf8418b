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
