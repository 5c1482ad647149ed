/** What a user can read: what was wanted, what was found, and what to do. */
export class HalnetError extends Error {
  /** @param {string} message one line */
  constructor(message) {
    super(message);
    this.name = "HalnetError";
  }
}
