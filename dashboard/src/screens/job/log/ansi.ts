// Owns how the colours of a terminal become classes: a line of output as pieces with one look each, and what of a look
// goes on in the next line of the same stream. Everything else that a terminal would obey is left out.
import Anser from 'anser';

export interface Piece {
  readonly text: string;
  readonly classes: string;
  /** `r g b` of a colour beyond the sixteen. */
  readonly color: string | null;
  readonly background: string | null;
  /** Holds what is searched for. */
  readonly isFound: boolean;
}

const ESC = String.fromCharCode(27);
const BEL = String.fromCharCode(7);
/** A look that goes on is not remembered beyond this. */
const CARRY_MAX = 80;

const look = new RegExp(`${ESC}\\[([\\d;:]*)m`, 'g');
/** Titles, links, and every sequence that is not a look: cursor moves, clears, character sets. */
const other = new RegExp(
  `${ESC}\\][^${BEL}${ESC}]*(?:${BEL}|${ESC}\\\\)|${ESC}\\[[0-?]*[ -/]*[@-ln-~]|${ESC}[()][A-Za-z0-9]|${ESC}[=>78NOMcDEH]`,
  'g',
);
/** What has no picture; a tab has one. */
const control = new RegExp(
  `[${String.fromCharCode(0)}-${String.fromCharCode(8)}\\v\\f${String.fromCharCode(14)}-${String.fromCharCode(31)}${String.fromCharCode(127)}]`,
  'g',
);

/** What a terminal would show at last of a line that was written over with carriage returns. */
function overwritten(text: string): string {
  if (!text.includes('\r')) return text;
  return text.split('\r').findLast((part) => part !== '') ?? '';
}

/** The looks that are still on behind the line: to be put before the next one of its stream. */
export function carryBehind(carry: string, text: string): string {
  if (!text.includes(ESC)) return carry;
  let on = carry;
  for (const [sequence, codes] of text.matchAll(look)) on = isReset(codes ?? '') ? '' : on + sequence;
  return on.length > CARRY_MAX ? '' : on;
}

function isReset(codes: string): boolean {
  return codes === '' || /^0+$/.test(codes);
}

/** The text alone, as it is searched and copied. */
export function plain(text: string): string {
  const shown = overwritten(text);
  return shown.includes(ESC)
    ? shown.replace(other, '').replace(look, '').replace(control, '')
    : shown.replace(control, '');
}

/** The line in pieces of one look. */
export function pieces(carry: string, text: string, find = ''): readonly Piece[] {
  const shown = overwritten(text);
  if (carry === '' && !shown.includes(ESC)) return marked([piece(shown.replace(control, ''))], find);
  const parsed = new Anser().ansiToJson(carry + shown.replace(other, ''), {
    json: true,
    use_classes: true,
    remove_empty: true,
  });
  return marked(
    parsed.map((entry) => {
      const classes = entry.decorations.map((decoration) => `ansi-${decoration}`);
      // What is reversed comes with its names exchanged, but not with its true colours.
      const color = rgbOf(entry.fg, entry.fg_truecolor || entry.bg_truecolor);
      const background = rgbOf(entry.bg, entry.bg_truecolor || entry.fg_truecolor);
      if (entry.fg && color === null) classes.push(`${entry.fg}-fg`);
      if (entry.bg && background === null) classes.push(`${entry.bg}-bg`);
      if (color !== null) classes.push('ansi-rgb');
      if (background !== null) classes.push('ansi-rgb-bg');
      return { ...piece(entry.content.replace(control, '')), classes: classes.join(' '), color, background };
    }),
    find,
  );
}

function piece(text: string): Piece {
  return { text, classes: '', color: null, background: null, isFound: false };
}

/** The colour of a name such as `ansi-palette-208` or `ansi-truecolor`; null for one of the sixteen and for none. */
function rgbOf(name: string, truecolor: string): string | null {
  if (name === 'ansi-truecolor') return truecolor ? truecolor.replaceAll(',', '') : null;
  const number = /^ansi-palette-(\d+)$/.exec(name)?.[1];
  return number === undefined ? null : paletteColor(Number(number));
}

/** Number 16 to 255 of the terminal's palette: a cube of six steps a colour, then greys. */
export function paletteColor(number: number): string {
  if (number >= 232)
    return Array<number>(3)
      .fill(8 + (number - 232) * 10)
      .join(' ');
  const step = (value: number) => (value === 0 ? 0 : 55 + value * 40);
  const rest = number - 16;
  return [Math.floor(rest / 36), Math.floor(rest / 6) % 6, rest % 6].map(step).join(' ');
}

/** The pieces cut where the searched text begins and ends, ASCII letters in any case as on the daemon. */
export function marked(all: readonly Piece[], find: string): readonly Piece[] {
  if (find === '') return all;
  const text = lower(all.map((each) => each.text).join(''));
  const wanted = lower(find);
  const cuts: number[] = [];
  for (let at = text.indexOf(wanted); at !== -1; at = text.indexOf(wanted, at + wanted.length)) {
    cuts.push(at, at + wanted.length);
  }
  if (cuts.length === 0) return all;
  const cut: Piece[] = [];
  let start = 0;
  for (const each of all) {
    const end = start + each.text.length;
    let from = start;
    for (const to of [...cuts.filter((at) => at > start && at < end), end]) {
      // An odd number of cuts lies before what is found.
      const isFound = cuts.filter((at) => at <= from).length % 2 === 1;
      if (to > from) cut.push({ ...each, text: each.text.slice(from - start, to - start), isFound });
      from = to;
    }
    start = end;
  }
  return cut;
}

function lower(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
