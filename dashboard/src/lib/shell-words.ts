// Owns how a command line is taken apart into arguments: quotes and backslashes as a POSIX shell reads them, and
// nothing more, since no shell runs it. `commandLine` of `format.ts` writes it. Pure.

/** The arguments of a line; or what is wrong with it. */
export function splitWords(line: string): { words: string[]; error: null } | { words: null; error: string } {
  const words: string[] = [];
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let at = 0; at < line.length; at += 1) {
    const character = line.charAt(at);
    if (quote === null && /\s/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (character === quote) {
      quote = null;
    } else if (quote === null && (character === '"' || character === "'")) {
      quote = character;
      word ??= '';
    } else if (character === '\\' && quote !== "'") {
      const next = line.charAt(at + 1);
      if (next === '') return { words: null, error: 'A backslash at the end stands before nothing.' };
      at += 1;
      // Within double quotes a backslash is a character of its own before all but these.
      word = (word ?? '') + (quote === '"' && !/["\\$`]/.test(next) ? `\\${next}` : next);
    } else {
      word = (word ?? '') + character;
    }
  }
  if (quote !== null) return { words: null, error: `A ${quote === '"' ? 'double' : 'single'} quote is not closed.` };
  if (word !== null) words.push(word);
  return { words, error: null };
}
