/**
 * Secrets that everybody knows: from documentation, from the defaults of object stores, or the first that come to
 * mind. In lower case.
 */
const knownSecrets: ReadonlySet<string> = new Set([
  // AWS's documentation
  'wjalrxutnfemi/k7mdeng/bpxrficyexamplekey',
  'wjalrxutnfemi/k7mdeng+bpxrficyexamplekey',
  // defaults of other stores and tools
  'predastore',
  'minioadmin',
  'minio123',
  'minio12345',
  'rustfsadmin',
  'seaweedfs',
  'garage',
  'localstack',
  'zuf+tfteslswru7bj86wekitnifilbzam1kyy3tg', // play.min.io
  // the first that come to mind
  'admin',
  'administrator',
  'changeme',
  'change-me',
  'default',
  'dev',
  'example',
  'password',
  'password123',
  's3d',
  'secret',
  'secretkey',
  'test',
  'test123',
  'testing',
  '12345678',
]);

const fillers = /^(?:\.+|x+|\*+|<.*>|your[-_ ].*)$/i;

/**
 * Whether a key pair protects nothing because its secret is public: an example from documentation, a default of
 * some product, the access key id itself, or a placeholder left unfilled. Such pairs are fine on loopback only.
 *
 * The secret alone decides: a well-known id with a secret of its own is safe.
 */
export function isExampleKey(pair: {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}): boolean {
  const secret = pair.secretAccessKey.toLowerCase();
  return (
    knownSecrets.has(secret) ||
    secret === pair.accessKeyId.toLowerCase() ||
    secret.includes('examplekey') ||
    fillers.test(secret)
  );
}
