// Owns the comparison of two texts, line by line: what is the same, what is gone, what is new. Pure.

export interface DiffLine {
  readonly kind: 'same' | 'gone' | 'new';
  readonly text: string;
}
/** Lines that are shown, or the number of those that are left out because nothing changed near them. */
export type DiffPart = { readonly lines: readonly DiffLine[] } | { readonly leftOut: number };

/** Above this the middle is told as replaced as a whole: the table of the comparison would be too large. */
const CELLS_MAX = 4_000_000;

/** The shortest way from the one to the other. */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  const room = Math.min(before.length, after.length) - head;
  while (tail < room && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail += 1;
  const same = (text: string): DiffLine => ({ kind: 'same', text });
  return [
    ...before.slice(0, head).map(same),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(same),
  ];
}

function middle(before: readonly string[], after: readonly string[]): DiffLine[] {
  const gone = (text: string): DiffLine => ({ kind: 'gone', text });
  const fresh = (text: string): DiffLine => ({ kind: 'new', text });
  const width = after.length + 1;
  if ((before.length + 1) * width > CELLS_MAX) return [...before.map(gone), ...after.map(fresh)];
  // The longest common rest of each pair of places.
  const common = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      common[i * width + j] =
        before[i] === after[j]
          ? (common[(i + 1) * width + j + 1] ?? 0) + 1
          : Math.max(common[(i + 1) * width + j] ?? 0, common[i * width + j + 1] ?? 0);
    }
  }
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    const old = before[i];
    const next = after[j];
    if (old !== undefined && old === next) {
      lines.push({ kind: 'same', text: old });
      i += 1;
      j += 1;
    } else if (
      old !== undefined &&
      (next === undefined || (common[(i + 1) * width + j] ?? 0) >= (common[i * width + j + 1] ?? 0))
    ) {
      lines.push(gone(old));
      i += 1;
    } else {
      lines.push(fresh(next ?? ''));
      j += 1;
    }
  }
  return lines;
}

/** The same with only some lines around each change. */
export function folded(lines: readonly DiffLine[], around = 3): DiffPart[] {
  const isNear = lines.map((_, at) =>
    lines.slice(Math.max(0, at - around), at + around + 1).some((line) => line.kind !== 'same'),
  );
  const parts: DiffPart[] = [];
  let shown: DiffLine[] = [];
  let leftOut = 0;
  const end = () => {
    if (shown.length > 0) parts.push({ lines: shown });
    if (leftOut > 0) parts.push({ leftOut });
    shown = [];
    leftOut = 0;
  };
  lines.forEach((line, at) => {
    if (isNear[at]) {
      if (leftOut > 0) end();
      shown.push(line);
    } else {
      if (shown.length > 0) end();
      leftOut += 1;
    }
  });
  end();
  return parts;
}
