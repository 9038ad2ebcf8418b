// Owns the tests of questions over HTTP: which token a refusal is about.
import { afterEach, expect, it, vi } from 'vitest';
import { openingDocument } from '$lib/live/fragments';
import { access } from './access.svelte';
import { ask } from './client';

afterEach(() => {
  vi.unstubAllGlobals();
  access.forget();
});

/** Asks with the token, which is refused once `meanwhile` is done. */
async function refused(token: string, meanwhile: () => void) {
  const response = {
    status: 401,
    headers: new Headers({ 'content-type': 'application/json' }),
    text: () => Promise.resolve('{"errors":[{"message":"no"}]}'),
  };
  const sent = vi.fn();
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  vi.stubGlobal('fetch', async () => {
    sent();
    await answered;
    return response;
  });
  access.give(token);
  const asked = ask(openingDocument, {});
  await vi.waitFor(() => {
    expect(sent).toHaveBeenCalled();
  });
  meanwhile();
  answer();
  return asked;
}

it('a refusal takes the token away that was sent', async () => {
  const { problem } = await refused('old', () => undefined);
  expect([problem?.kind, access.token]).toEqual(['unauthenticated', null]);
});

it('a late refusal of an earlier token leaves the one that holds now', async () => {
  const { problem } = await refused('old', () => {
    access.give('new');
  });
  expect([problem?.kind, access.token, access.refusal]).toEqual(['unauthenticated', 'new', null]);
});
