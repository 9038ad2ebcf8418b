// Owns which lines of a log were not kept, and how lines become rows: a gap of any size is one row. Lines count from 0.

export interface Gap {
  readonly from: number;
  /** The first line behind it. */
  readonly to: number;
  /** Bytes that were not kept, as far as they are known. */
  readonly bytes: number;
}

export class Gaps {
  #all: readonly Gap[] = [];

  get all(): readonly Gap[] {
    return this.#all;
  }

  /** Notes a gap; it grows together with those that it touches. Whether anything is new. */
  add(gap: Gap): boolean {
    if (gap.to <= gap.from) return false;
    const touching = this.#all.filter((each) => each.from <= gap.to && each.to >= gap.from);
    const whole = [gap, ...touching].reduce((sum, each) => ({
      from: Math.min(sum.from, each.from),
      to: Math.max(sum.to, each.to),
      bytes: Math.max(sum.bytes, each.bytes),
    }));
    const [only] = touching;
    if (touching.length === 1 && only?.from === whole.from && only.to === whole.to && only.bytes === whole.bytes)
      return false;
    this.#all = [...this.#all.filter((each) => !touching.includes(each)), whole].sort(
      (left, right) => left.from - right.from,
    );
    return true;
  }

  /** The gap that a line lies in. */
  at(line: number): Gap | null {
    return this.#all.find((gap) => line >= gap.from && line < gap.to) ?? null;
  }

  /** Rows of a log with so many lines. */
  rows(lines: number): number {
    return this.rowOf(lines);
  }

  /** The row that shows a line, or the gap that it lies in. */
  rowOf(line: number): number {
    let hidden = 0;
    for (const gap of this.#all) {
      if (gap.from >= line) break;
      hidden += Math.min(line, gap.to - 1) - gap.from;
    }
    return line - hidden;
  }

  /** The line of a row; of a gap its first one. */
  lineOf(row: number): number {
    let line = row;
    for (const gap of this.#all) {
      if (line <= gap.from) break;
      line += gap.to - gap.from - 1;
    }
    return line;
  }
}
