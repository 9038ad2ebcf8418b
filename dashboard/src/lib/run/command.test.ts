// Owns the tests of how a line becomes arguments.
import { expect, it } from 'vitest';
import { cliOf, inputOf, labelsOf, missing, newDraft, splitLine } from './command';

it.each([
  ['make deploy', ['make', 'deploy']],
  [`  sh -c 'echo "a b"'  `, ['sh', '-c', 'echo "a b"']],
  [`echo "it's" it\\'s a\\ b ''`, ['echo', "it's", "it's", 'a b', '']],
  ['echo "a\\"b\\n"', ['echo', 'a"b\\n']],
  ['rsync -a \\\n  /srv there:', ['rsync', '-a', '/srv', 'there:']],
  ['a"b"\'c\'', ['abc']],
  ['', []],
])('%s is split as a shell does', (line, argv) => {
  expect(splitLine(line)).toEqual({ argv, isOpen: false, shellSigns: [] });
});

it('a quote that is not closed is told', () => {
  expect(splitLine('echo "a').isOpen).toBe(true);
  expect(missing({ ...newDraft(), line: "echo 'a" })).toBe('A quote is not closed.');
});

it('signs that only a shell reads are told, unless they are quoted', () => {
  expect(splitLine('cat a | wc -l && echo $HOME > out').shellSigns).toEqual(['|', '&&', '$H', '>']);
  expect(splitLine(`grep 'a|b' "c;d" 100%`).shellSigns).toEqual([]);
});

it('what is left empty is left to the daemon', () => {
  expect(inputOf({ ...newDraft(), line: 'true' }, 'key')).toEqual({
    run: { command: { exec: { argv: ['true'], workingDirectory: null, environment: [] } } },
    queue: null,
    priority: null,
    delay: null,
    timeout: null,
    retryPolicy: null,
    labels: null,
    isHeld: false,
    idempotencyKey: 'key',
  });
});

it('a variable with a value but without a name is sent, so that it is refused', () => {
  const nameless = { name: '', value: 'x', isSecret: false };
  const draft = { ...newDraft(), line: 'true', environment: [nameless, { ...nameless, value: '' }] };
  expect(inputOf(draft, 'key').run.command).toMatchObject({ exec: { environment: [nameless] } });
});

it('the CLI says the same, without the value of a secret', () => {
  const draft = {
    ...newDraft(),
    kind: 'script' as const,
    script: 'make',
    environment: [{ name: 'KEY', value: 'x', isSecret: true }],
    retries: '2',
    labels: 'team=web',
    isHeld: true,
  };
  expect(cliOf(draft)).toEqual(
    ['beadle', 'run', '--env', 'KEY=…', '--retries', '2', '--label', 'team=web', '--hold'].concat([
      '--',
      '/bin/sh',
      '-c',
      'make',
    ]),
  );
  expect(inputOf(draft, 'k').retryPolicy).toEqual({ maxAttempts: 3 });
  expect(labelsOf('team=web, x,')).toEqual([
    { key: 'team', value: 'web' },
    { key: 'x', value: '' },
  ]);
});
