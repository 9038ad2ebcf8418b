import { describe, expect, it } from 'vitest';
import type { GrantVerb } from '$lib/api/graphql';
import { commandWords, globs, grantsOf, inWords } from './grants';

const grant = (verb: GrantVerb, tasks: string[] | null = null, ownJobsOnly = false) => ({ verb, tasks, ownJobsOnly });
const empty = { verbs: {}, readsOwn: false, cancelsOwn: false, enqueueTasks: '', cancelTasks: '' };

describe('grants in words', () => {
  it('says what a token of a pipeline may do', () => {
    const grants = [grant('ENQUEUE', ['deploy-*']), grant('READ', null, true), grant('CANCEL', null, true)];
    expect(inWords(grants)).toBe('see its own jobs, start deploy-*, and cancel its own jobs');
  });
  it('says everything for an administrator, and nothing for none', () => {
    expect(inWords([grant('READ'), grant('ADMIN')])).toBe('do everything, tokens too');
    expect(inWords([])).toBe('do nothing');
  });
  it('names the tasks whose jobs may be cancelled', () => {
    expect(inWords([grant('CANCEL', ['a', 'b'])])).toBe('cancel jobs of a and b');
    expect(inWords([grant('CANCEL', ['a'], true)])).toBe('cancel its own jobs of a');
    expect(inWords([grant('CANCEL')])).toBe('cancel every job');
  });
});

describe('a new token as a command', () => {
  const flags = (...grants: Parameters<typeof commandWords>[1]) => commandWords('ci', grants, null).slice(4);
  it('has one flag for its own jobs', () => {
    expect(flags(grant('READ', null, true), grant('ENQUEUE', ['a']))).toEqual(['--read', '--enqueue', 'a', '--own']);
    expect(flags(grant('READ'), grant('CANCEL', ['b']))).toEqual(['--read', '--cancel', 'b']);
  });
  it('is not shown where that flag would say something else', () => {
    expect(commandWords('ci', [grant('READ'), grant('CANCEL', null, true)], null)).toEqual([]);
  });
});

describe('the grants of a new token', () => {
  it('reads globs between commas and blanks', () => {
    expect(globs(' deploy-*, backup  report-?')).toEqual(['deploy-*', 'backup', 'report-?']);
    expect(globs('  ')).toBeNull();
    expect(globs('a, *')).toBeNull();
  });
  it('narrows only what can be narrowed', () => {
    const draft = { ...empty, verbs: { READ: true, ENQUEUE: true, OPERATE: true }, readsOwn: true, cancelsOwn: true };
    expect(grantsOf({ ...draft, enqueueTasks: 'deploy-*', cancelTasks: 'backup' })).toEqual([
      grant('READ', null, true),
      grant('ENQUEUE', ['deploy-*']),
      grant('OPERATE'),
    ]);
  });
  it('says admin alone, since that is everything', () => {
    expect(grantsOf({ ...empty, verbs: { READ: true, ADMIN: true } })).toEqual([grant('ADMIN')]);
  });
});
