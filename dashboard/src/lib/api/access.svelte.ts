// Owns the token: from the link's fragment into sessionStorage, and nowhere else. It never stands in an address, a
// cookie or a log.
const KEY = 'beadle.token';

class Access {
  /** The token that the page presents; null asks the person for one. */
  token = $state.raw<string | null>(null);
  /** Why the last token was refused. */
  refusal = $state.raw<string | null>(null);

  /** Takes the token out of the address, else out of the session. Call once, before anything is asked. A link that is
   * opened in this page later counts too. */
  open(): void {
    this.token = this.#taken() ?? sessionStorage.getItem(KEY);
    addEventListener('hashchange', () => {
      const given = this.#taken();
      if (given !== null) this.give(given);
    });
  }

  #taken(): string | null {
    const fragment = new URLSearchParams(location.hash.slice(1));
    const given = fragment.get('token');
    if (given !== null) {
      fragment.delete('token');
      const rest = fragment.toString();
      history.replaceState(history.state, '', location.pathname + location.search + (rest ? `#${rest}` : ''));
    }
    if (given !== null) sessionStorage.setItem(KEY, given);
    return given;
  }

  /** A token that the person gave. */
  give(token: string): void {
    const clean = token.trim().replace(/^.*#token=/, '');
    if (clean === '') return;
    sessionStorage.setItem(KEY, clean);
    this.refusal = null;
    this.token = clean;
  }

  /** The daemon does not take the token. */
  refuse(reason: string): void {
    if (this.token === null) return;
    sessionStorage.removeItem(KEY);
    this.refusal = reason;
    this.token = null;
  }

  /** The person leaves. */
  forget(): void {
    sessionStorage.removeItem(KEY);
    this.refusal = null;
    this.token = null;
  }

  /** What requests present. */
  get authorization(): string {
    return `Bearer ${this.token ?? ''}`;
  }
}

export const access = new Access();
