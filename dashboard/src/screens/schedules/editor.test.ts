// Owns the tests of the form of a schedule as plain values.
import { expect, it } from 'vitest';
import { putCommand } from './actions';
import { formOf, inputOf, missing, newForm, previewSlip, slips, type Definition } from './editor';

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
  expect(inputOf(formOf(definition), false, definition.parameters)).toEqual({
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
  expect(putCommand(inputOf(formOf(definition), false, definition.parameters))).toEqual(
    [
      ['beadle', 'schedule', 'put', 'nightly', '--task', 'backup', '--cron', '30 2 * * *'],
      ['--time-zone', 'Europe/Berlin', '--jitter', '1m30s', '--misfire', 'skip', '--overlap', 'queue-one'],
      ['--param', 'copies=2', '--param', 'month="11"', '--param', 'note=two words'],
    ].flat(),
  );
  const form = { ...newForm('backup', 'UTC'), name: 'often', kind: 'every' as const, every: '5s', isPaused: true };
  expect(putCommand(inputOf(form, true, null)).join(' ')).toBe(
    'beadle schedule put often --task backup --every 5s --paused',
  );
});

it('slips are told at their fields', () => {
  const form = { ...newForm('backup', 'UTC'), kind: 'every' as const, every: 'often', jitter: '5' };
  expect(Object.keys(slips(form))).toEqual(['every', 'jitter']);
  expect(slips({ ...form, every: '', jitter: '' })).toEqual({});
});

it('what is missing is told', () => {
  expect(missing(newForm(null, 'UTC'))).toBe('It needs a name.');
  expect(missing({ ...newForm('backup', 'UTC'), name: 'a' })).toBe('It needs a time.');
  expect(missing({ ...newForm('backup', 'UTC'), name: 'a', cron: '@daily' })).toBeNull();
});

it('the refusal of a preview stands at its field', () => {
  const cron = ['timing', 'cron'];
  expect(previewSlip({ message: 'Timing.cron: "0 99 * * *" is not a cron pattern.', inputPath: cron })).toEqual({
    field: 'cron',
    text: '"0 99 * * *" is not a cron pattern.',
  });
  expect(previewSlip({ message: 'TimeZone: is not known', inputPath: ['timeZone'] })).toEqual({
    field: 'timeZone',
    text: 'Is not known',
  });
  const elsewhere = { message: 'The daemon does not answer.', inputPath: null };
  expect(previewSlip(elsewhere)).toEqual({ field: null, text: elsewhere.message });
});
