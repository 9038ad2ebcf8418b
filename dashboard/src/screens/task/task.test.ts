import { expect, test } from 'vitest';
import { diffLines, folded } from './diff';
import type { Revision } from './documents';
import { draftOf, emptyDraft, inputOf } from './draft';
import { fileOf, linesOf } from './text';

const plain: Revision = {
  revision: 3,
  description: 'Brings a release: to the servers.',
  priority: 50,
  timeout: 'PT1M30S',
  idleTimeout: null,
  maxTimeout: 'PT1H',
  killGrace: 'PT10S',
  isRestartable: false,
  mergeOutput: true,
  runsOn: [
    { key: 'gpu', value: 'a100' },
    { key: 'zone', value: '1' },
  ],
  concurrencyLimit: 2,
  parametersSchema: { type: 'object', properties: { a: { type: 'string' } } },
  actor: 'admin',
  createdAt: '2026-01-01T00:00:00Z',
  command: {
    argv: ['sh', '-c', 'echo "a b"\nexit 1', '{{a}}'],
    script: null,
    shell: null,
    handler: null,
    workingDirectory: '/srv',
    environment: [
      { name: 'A', isSecret: false, value: 'x y' },
      { name: 'KEY', isSecret: true, value: null },
    ],
    inheritEnvironment: ['LANG', 'TZ'],
  },
  retryPolicy: {
    maxAttempts: 3,
    initialDelay: 'PT30S',
    maxDelay: 'PT10M',
    factor: 1.5,
    retryOn: ['EXITED', 'LOST'],
    exitCodes: [1, 75],
    signals: null,
    retriesTemporaryFailure: true,
  },
  queue: { id: 'queue_1', name: 'deploy' },
};

test('a draft becomes what the revision said', () => {
  const draft = draftOf('deploy', plain);
  const secret = draft.environment[1];
  if (secret) secret.value = 'again';
  const { input, errors } = inputOf(draft, 3);
  expect(errors).toEqual({});
  expect(input).toEqual({
    name: 'deploy',
    expectedRevision: 3,
    description: plain.description,
    command: {
      exec: {
        argv: plain.command.argv,
        workingDirectory: '/srv',
        environment: [
          { name: 'A', value: 'x y', isSecret: false },
          { name: 'KEY', value: 'again', isSecret: true },
        ],
        inheritEnvironment: ['LANG', 'TZ'],
      },
    },
    queue: 'deploy',
    priority: 50,
    concurrencyLimit: 2,
    timeout: 'PT90S',
    idleTimeout: null,
    maxTimeout: 'PT3600S',
    killGrace: 'PT10S',
    isRestartable: false,
    mergeOutput: true,
    runsOn: plain.runsOn,
    retryPolicy: { ...plain.retryPolicy, maxDelay: 'PT600S' },
    parametersSchema: plain.parametersSchema,
  });
});

test('a secret is never lost without a word', () => {
  expect(Object.keys(inputOf(draftOf('deploy', plain), 3).errors)).toEqual(['command.exec.environment.1.value']);
});

test('what is wrong is said at the field that the daemon would name', () => {
  const draft = {
    ...emptyDraft(),
    timeout: '5x',
    priority: 'high',
    parametersSchema: '{',
    exitCodes: '1 x',
    factor: 'a',
    runsOn: 'gpu a=b',
  };
  expect(Object.keys(inputOf(draft, 0).errors).sort()).toEqual(
    [
      'command.exec.argv',
      'name',
      'parametersSchema',
      'priority',
      'retryPolicy.exitCodes',
      'retryPolicy.factor',
      'runsOn',
      'timeout',
    ].sort(),
  );
});

test('a script and a handler keep their own fields', () => {
  const script = { ...plain, command: { ...plain.command, argv: [], script: 'set -eu\ntrue\n', shell: '/bin/bash' } };
  const draft = draftOf('x', { ...script, command: { ...script.command, environment: [] } });
  expect(inputOf(draft, 1).input.command).toMatchObject({ script: { text: 'set -eu\ntrue\n', shell: '/bin/bash' } });
  const handler = { ...plain, command: { ...plain.command, argv: [], handler: 'count', environment: [] } };
  expect(inputOf(draftOf('x', handler), 1).input.command).toEqual({ handler: 'count' });
});

test('a revision is a file for apply', () => {
  expect(fileOf('deploy', plain)).toMatchInlineSnapshot(`
    "tasks:
      deploy:
        description: "Brings a release: to the servers."
        command:
          - sh
          - "-c"
          - "echo \\"a b\\"\\nexit 1"
          - "{{a}}"
        working_directory: /srv
        environment:
          A: x y
        environment_from:
          - KEY
        inherit_environment:
          - LANG
          - TZ
        queue: deploy
        priority: 50
        concurrency_limit: 2
        timeout: 1m30s
        max_timeout: 1h
        retry:
          max_attempts: 3
          initial_delay: 30s
          factor: 1.5
          retry_on: [EXITED, LOST]
          exit_codes: [1, 75]
          retries_temporary_failure: true
        is_restartable: false
        merge_output: true
        runs_on:
          gpu: a100
          zone: "1"
        parameters_schema: {
            "type": "object",
            "properties": {
              "a": {
                "type": "string"
              }
            }
          }
    "
  `);
  const script = { ...plain.command, argv: [], script: 'set -eu\n\necho hi\n', shell: '/bin/sh' };
  expect(linesOf({ ...plain, command: script }).slice(1, 6)).toEqual([
    'script: |',
    '  set -eu',
    '',
    '  echo hi',
    'working_directory: /srv',
  ]);
});

test('a diff has the fewest changes and folds what is far away', () => {
  const before = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];
  const after = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'H', 'h2', 'j'];
  const lines = diffLines(before, after);
  expect(lines.filter((line) => line.kind !== 'same').map((line) => `${line.kind} ${line.text}`)).toEqual([
    'gone h',
    'gone i',
    'new H',
    'new h2',
  ]);
  expect(lines.filter((line) => line.kind !== 'new').map((line) => line.text)).toEqual(before);
  expect(lines.filter((line) => line.kind !== 'gone').map((line) => line.text)).toEqual(after);
  expect(folded(lines)[0]).toEqual({ leftOut: 4 });
  expect(diffLines(['x', 'a', 'y'], ['a', 'y', 'z']).map((line) => line.kind)).toEqual(['gone', 'same', 'same', 'new']);
  expect(folded(diffLines(['a'], ['a']))).toEqual([{ leftOut: 1 }]);
});

test('a list that is there and empty stays empty, and none stays none', () => {
  const policy = { ...plain.retryPolicy, retryOn: [], exitCodes: null, signals: [] };
  const { input } = inputOf(draftOf('deploy', { ...plain, retryPolicy: policy }), 3);
  expect(input.retryPolicy).toMatchObject({ retryOn: [], exitCodes: null, signals: [] });
});
