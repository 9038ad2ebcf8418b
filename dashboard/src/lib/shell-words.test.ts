import { expect, test } from 'vitest';
import { commandLine } from './format';
import { splitWords } from './shell-words';

test('quotes and backslashes group as in a shell', () => {
  expect(splitWords(` rsync  -a "my files" it\\'s 'a "b"' ''`).words).toEqual([
    'rsync',
    '-a',
    'my files',
    "it's",
    'a "b"',
    '',
  ]);
  expect(splitWords(String.raw`echo "a\n\"b\""`).words).toEqual(['echo', String.raw`a\n"b"`]);
  expect(splitWords('echo $HOME | wc').words).toEqual(['echo', '$HOME', '|', 'wc']);
  expect(splitWords('').words).toEqual([]);
});

test('what is not closed is told', () => {
  expect(splitWords(`echo "a`).error).toContain('double quote');
  expect(splitWords(`echo 'a`).error).toContain('single quote');
  expect(splitWords('echo \\').error).toContain('backslash');
});

test('what is written is read again', () => {
  for (const argv of [['a b', "it's", '', '"', '\\', 'x\ny', '{{name}}', '$HOME']]) {
    expect(splitWords(commandLine({ argv, script: null, handler: null })).words).toEqual(argv);
  }
});
