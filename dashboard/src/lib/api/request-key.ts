// Owns the key under which a request that makes something is sent: the same request has the same key, so that one which
// is sent again because nobody answered is done once; another request, or the same once more, has another key.

export class RequestKey {
  #body = '';
  #key = '';

  of(input: unknown): string {
    const body = JSON.stringify(input);
    if (body !== this.#body) {
      this.#body = body;
      this.#key = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join('-');
    }
    return this.#key;
  }

  /** It was answered: what is sent next is another request. */
  answered(): void {
    this.#body = '';
  }
}
