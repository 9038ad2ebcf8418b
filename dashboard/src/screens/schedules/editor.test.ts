// Owns the tests of the form of a schedule as plain values.
import { expect, it } from 'vitest';
import { putCommand } from './actions';
import { atFields, formOf, inputOf, missing, newForm, previewSlip, slips, type Definition } from './editor';

const definition: Definition = {
  name: 'nightly',
  task: { id: 'task_1', name: 'backup' },
  timing: { __typename: 'CronTiming', cron: '30 2 * * *' },
  timeZone: 'Europe/Berlin',
  jitter: 'PT1M30S',
  misfire: 'SKIP',
  misfireWindow: 'P1D',
  overlap: 'QUEUE_ONE',
  parameters: { copies: 2, month: '11', note: 'two words' },
};

it('a schedule comes back from its form as it was', () => {
  expect(inputOf(formOf(definition), false)).toEqual({
    name: 'nightly',
    task: { name: 'backup' },
    timing: { cron: '30 2 * * *' },
    timeZone: 'Europe/Berlin',
    jitter: '1m30s',
    misfire: 'SKIP',
    misfireWindow: '1d',
    overlap: 'QUEUE_ONE',
    parameters: { copies: 2, month: '11', note: 'two words' },
    isPaused: null,
  });
});

it('its command says only what differs from the defaults', () => {
  expect(putCommand(inputOf(formOf(definition), false))).toEqual(
    [
      ['beadle', 'schedule', 'put', 'nightly', '--task', 'backup', '--cron', '30 2 * * *'],
      ['--time-zone', 'Europe/Berlin', '--jitter', '1m30s', '--misfire', 'skip', '--overlap', 'queue-one'],
      ['--param', 'copies=2', '--param', 'month="11"', '--param', 'note=two words'],
    ].flat(),
  );
  const form = { ...newForm('backup', 'UTC'), name: 'often', kind: 'every' as const, every: '5s', isPaused: true };
  expect(putCommand(inputOf(form, true)).join(' ')).toBe('beadle schedule put often --task backup --every 5s --paused');
});

it('slips are told at their fields', () => {
  const form = { ...newForm('backup', 'UTC'), kind: 'every' as const, every: 'often', jitter: '5', parameters: '[1]' };
  expect(Object.keys(slips(form))).toEqual(['every', 'jitter', 'parameters']);
  expect(slips({ ...form, every: '', jitter: '', parameters: '' })).toEqual({});
  expect(slips({ ...form, parameters: '{"a":' }).parameters).toMatch(/^This is not JSON/);
});

it('what is missing is told', () => {
  expect(missing(newForm(null, 'UTC'))).toBe('It needs a name.');
  expect(missing({ ...newForm('backup', 'UTC'), name: 'a' })).toBe('It needs a time.');
  expect(missing({ ...newForm('backup', 'UTC'), name: 'a', cron: '@daily' })).toBeNull();
});

it('the refusal of a preview stands at its field', () => {
  expect(previewSlip('timing.cron: "0 99 * * *" is not a cron pattern.')).toEqual({
    field: 'cron',
    text: '"0 99 * * *" is not a cron pattern.',
  });
  expect(previewSlip('TimeZone: is not known')).toEqual({ field: 'timeZone', text: 'Is not known' });
  expect(previewSlip('The daemon does not answer.')).toEqual({ field: null, text: 'The daemon does not answer.' });
});

it('refusals of single parameters stand at the field of all', () => {
  const errors = [{ path: ['parameters', 'month'] }, { path: ['jitter'] }, { path: null }];
  expect(atFields(errors).map((error) => error.path)).toEqual([['parameters'], ['jitter'], null]);
});
