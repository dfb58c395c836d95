import { parsePolicy, type Policy, type PolicyRules } from '../../auth/bucket_policy/document.ts';

const maxPolicies = 512;

/** Compiled policies by their text, so that a request costs no parsing. Those read last are kept. */
export class Policies {
  readonly #rules: Omit<PolicyRules, 'bucket'>;
  readonly #compiled = new Map<string, Policy>();

  constructor(rules: Omit<PolicyRules, 'bucket'>) {
    this.#rules = rules;
  }

  /** Compiles the policy that a bucket is to have. @throws PolicyError, which says what is wrong. */
  read(text: string, bucket: string): Policy {
    return parsePolicy(text, { ...this.#rules, bucket });
  }

  /**
   * The compiled policy of a bucket.
   * @throws PolicyError for a text that was never accepted: whoever asks must let nobody in then.
   */
  of(text: string, bucket: string): Policy {
    const known = this.#compiled.get(text);
    if (known !== undefined) return known;
    const policy = this.read(text, bucket);
    if (this.#compiled.size >= maxPolicies) {
      const oldest = this.#compiled.keys().next();
      if (oldest.done !== true) this.#compiled.delete(oldest.value);
    }
    this.#compiled.set(text, policy);
    return policy;
  }
}
