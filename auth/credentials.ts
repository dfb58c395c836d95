/** One access key and whom it speaks for. */
export interface Credential {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly accountId: string;
  /** Shown as the owner's DisplayName. */
  readonly displayName: string;
  /** May use the admin listener. */
  readonly admin: boolean;
  /** What the key may do within its own account. */
  readonly policy: readonly PolicyGrant[];
}

/** `[[auth]] policy`: buckets and actions with `*` and `?` wildcards. */
export interface PolicyGrant {
  readonly bucket: string;
  /** `s3:GetObject`, `s3:Get*`, `s3:*` */
  readonly actions: readonly string[];
}

export interface CredentialStore {
  find(accessKeyId: string): Promise<Credential | undefined>;
}
