// Owns the tests of the terminal's colours: what is shown, what goes on in the next line, where a search is marked.
import { describe, expect, it } from 'vitest';
import { carryBehind, marked, paletteColor, pieces, plain } from './ansi';

const E = String.fromCharCode(27);
const texts = (all: ReturnType<typeof pieces>) => all.map((piece) => [piece.text, piece.classes]);

describe('pieces', () => {
  it('a plain line is one piece', () => {
    expect(texts(pieces('', 'hello'))).toEqual([['hello', '']]);
  });

  it('colours and weights become classes', () => {
    expect(texts(pieces('', `${E}[1;31merror${E}[0m: no`))).toEqual([
      ['error', 'ansi-bold ansi-red-fg'],
      [': no', ''],
    ]);
    expect(texts(pieces('', `${E}[92mok${E}[m`))).toEqual([['ok', 'ansi-bright-green-fg']]);
  });

  it('a look goes on in the next line until it is reset', () => {
    const carry = carryBehind('', `${E}[31merror`);
    expect(texts(pieces(carry, '  at x.sql:42'))).toEqual([['  at x.sql:42', 'ansi-red-fg']]);
    expect(carryBehind(carry, 'nothing new')).toBe(carry);
    expect(carryBehind(carry, `end${E}[0m`)).toBe('');
    expect(carryBehind('', `${E}[1m`.repeat(100))).toBe('');
  });

  it('colours beyond the sixteen are given as they are', () => {
    const [first] = pieces('', `${E}[38;5;208mwarm${E}[0m`);
    expect(first).toMatchObject({ text: 'warm', classes: 'ansi-rgb', color: '255 135 0' });
    const [second] = pieces('', `${E}[48;2;1;2;3mdark`);
    expect(second).toMatchObject({ classes: 'ansi-rgb-bg', background: '1 2 3' });
    expect(paletteColor(16)).toBe('0 0 0');
    expect(paletteColor(255)).toBe('238 238 238');
  });

  it('what a terminal obeys and what has no picture is left out', () => {
    const line = `${E}]8;;http://x${E}\\link${E}]8;;${E}\\ ${E}[2K${E}[1Adone\u0007`;
    expect(plain(line)).toBe('link done');
    expect(texts(pieces('', line))).toEqual([['link done', '']]);
  });

  it('of a line that was written over, the last state is shown', () => {
    expect(texts(pieces('', 'at 10%\rat 60%\rat 100%\r'))).toEqual([['at 100%', '']]);
  });

  it('reversed colours are exchanged', () => {
    expect(texts(pieces('', `${E}[7;31mx`))).toEqual([['x', 'ansi-black-fg ansi-red-bg']]);
    expect(pieces('', `${E}[7;38;2;1;2;3mx`)[0]).toMatchObject({ background: '1 2 3' });
  });

  it('markup in a line stays text', () => {
    expect(texts(pieces('', `${E}[31m<b>&amp;</b>`))).toEqual([['<b>&amp;</b>', 'ansi-red-fg']]);
  });
});

describe('marked', () => {
  const found = (line: string, find: string) => pieces('', line, find).filter((piece) => piece.isFound);

  it('marks every place, in any case of ASCII letters', () => {
    expect(found('Error, error, ERROR', 'error').map((piece) => piece.text)).toEqual(['Error', 'error', 'ERROR']);
  });

  it('marks across a change of colour', () => {
    expect(found(`connection ${E}[31mref${E}[0mused`, 'refused').map((piece) => piece.text)).toEqual(['ref', 'used']);
  });

  it('leaves the text as it was', () => {
    const all = marked(pieces('', 'aXbXc'), 'x');
    expect(all.map((piece) => piece.text).join('')).toBe('aXbXc');
    expect(all.map((piece) => piece.isFound)).toEqual([false, true, false, true, false]);
    expect(
      found('aaaa', 'aa')
        .map((piece) => piece.text)
        .join(''),
    ).toBe('aaaa');
  });
});
