/** One access key and whom it speaks for. */
export interface Credential {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly accountId: string;
  /** Shown as the owner's DisplayName. */
  readonly displayName: string;
  /** May use the admin listener. */
  readonly admin: boolean;
  /** Unique among accounts, for ACLs that name their grantee so. */
  readonly email?: string;
  /** What the key may do within its own account. */
  readonly policy: readonly PolicyGrant[];
}

/** `[[auth]] policy`: buckets and actions with `*` and `?` wildcards. */
export interface PolicyGrant {
  readonly bucket: string;
  /** `s3:GetObject`, `s3:Get*`, `s3:*` */
  readonly actions: readonly string[];
}

/** An account as ACLs and answers show it. */
export interface Account {
  readonly id: string;
  readonly displayName: string;
}

/** Which accounts there are: ACLs grant to those only. */
export interface AccountDirectory {
  byId(id: string): Promise<Account | undefined>;
  byEmail(email: string): Promise<Account | undefined>;
}

export interface CredentialStore {
  find(accessKeyId: string): Promise<Credential | undefined>;
}
