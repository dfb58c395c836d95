import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testRegion } from '../cluster/test_config.ts';
import { aws } from './clients/aws_cli.ts';
import type { Endpoint } from './clients/endpoint.ts';
import { randomFile, sha256OfFile } from './clients/files.ts';
import { minioJs } from './clients/minio_js.ts';
import { python } from './clients/python.ts';
import { Registry } from './clients/registry.ts';
import { restic } from './clients/restic.ts';
import { s3cmd } from './clients/s3cmd.ts';
import { backends, closePlace, openPlace, type Place } from './servers.ts';

const MiB = 1 << 20;

describe.each(backends)('tools that keep their data in S3, on the $backend backend', ({ start }) => {
  let place: Place;
  let work: string;
  let writeTo: Endpoint;
  let readFrom: Endpoint;

  beforeAll(async () => {
    place = await openPlace(start);
    ({ work, writeTo, readFrom } = place);
  });
  afterAll(() => closePlace(place));

  test('minio-js: put, multipart, stat, list, copy, presigned, remove', async () => {
    const client = minioJs(writeTo);
    const other = minioJs(readFrom);
    await client.makeBucket('minio-js', testRegion);
    const large = randomBytes(70 * MiB);
    await client.putObject('minio-js', 'dir/large', large, large.length, { 'X-Amz-Meta-Colour': 'green' });
    await client.putObject('minio-js', 'dir/small', 'small');
    const stat = await other.statObject('minio-js', 'dir/large');
    expect(stat).toMatchObject({ size: large.length, metaData: { colour: 'green' } });
    expect((await buffer(await other.getObject('minio-js', 'dir/large'))).equals(large)).toBe(true);
    const listed = (await other.listObjectsV2('minio-js', 'dir/', true).toArray()) as { name: string }[];
    expect(listed.map(({ name }) => name)).toEqual(['dir/large', 'dir/small']);
    await client.removeObjects('minio-js', ['dir/large', 'dir/small']);
    await client.removeBucket('minio-js');
    expect(await other.bucketExists('minio-js')).toBe(false);
  });

  test('s3cmd: make, put in parts, get, sync, list, copy, delete', async () => {
    const file = join(work, 's3cmd.bin');
    const sha256 = await randomFile(file, 20 * MiB);
    await s3cmd(writeTo, 'mb', 's3://s3cmd');
    await s3cmd(writeTo, 'put', '--multipart-chunk-size-mb=5', file, 's3://s3cmd/a b/ü.bin');
    await s3cmd(readFrom, 'get', '--force', 's3://s3cmd/a b/ü.bin', join(work, 's3cmd.out'));
    expect(await sha256OfFile(join(work, 's3cmd.out'))).toBe(sha256);
    await s3cmd(readFrom, 'cp', 's3://s3cmd/a b/ü.bin', 's3://s3cmd/copy');
    const tree = join(work, 's3cmd-tree/sub');
    await mkdir(tree, { recursive: true });
    for (let i = 0; i < 5; i++) await writeFile(join(tree, `${i}.txt`), `file ${i}`);
    await s3cmd(writeTo, 'sync', `${join(work, 's3cmd-tree')}/`, 's3://s3cmd/tree/');
    const listing = await s3cmd(readFrom, 'ls', '--recursive', 's3://s3cmd');
    expect(listing.trim().split('\n')).toHaveLength(7);
    expect(await s3cmd(readFrom, 'info', 's3://s3cmd/copy')).toContain(String(20 * MiB));
    await s3cmd(writeTo, 'del', '--recursive', '--force', 's3://s3cmd');
    await s3cmd(writeTo, 'rb', 's3://s3cmd');
  });

  test('restic: init, backup, check, restore, forget and prune', async () => {
    const source = join(work, 'restic-source');
    await mkdir(join(source, 'sub'), { recursive: true });
    const sha256 = await randomFile(join(source, 'large.bin'), 24 * MiB);
    for (let i = 0; i < 50; i++) await writeFile(join(source, 'sub', `${i}.txt`), `text ${i}`);
    const repository = { bucket: 'restic', cacheDirectory: join(work, 'restic-cache') };
    await restic(writeTo, repository, 'init');
    await restic(writeTo, repository, 'backup', source);
    await writeFile(join(source, 'sub', '0.txt'), 'changed');
    await restic(readFrom, repository, 'backup', source);
    await restic(readFrom, repository, 'check', '--read-data');
    const target = join(work, 'restic-target');
    await restic(readFrom, repository, 'restore', 'latest', '--target', target);
    expect(await sha256OfFile(join(target, source, 'large.bin'))).toBe(sha256);
    expect(await readFile(join(target, source, 'sub/0.txt'), 'utf8')).toBe('changed');
    await restic(writeTo, repository, 'forget', '--keep-last', '1', '--prune');
    await restic(readFrom, repository, 'check', '--read-data');
  });

  test('pyarrow: Parquet written in pieces and read by columns', async () => {
    await aws(writeTo, 's3', 'mb', 's3://pyarrow');
    const script = `
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.dataset as ds
from pyarrow import fs
s3 = fs.S3FileSystem(access_key=key, secret_key=secret, endpoint_override=host, scheme="https", region=region, tls_ca_file_path=ca)
n = 200_000
table = pa.table({"id": range(n), "group": [i % 7 for i in range(n)], "text": [f"row {i}" * 10 for i in range(n)]})
pq.write_table(table, "pyarrow/one.parquet", filesystem=s3, row_group_size=20_000)
back = pq.read_table("pyarrow/one.parquet", columns=["id"], filesystem=s3)
assert back.column("id").to_pylist() == list(range(n))
ds.write_dataset(table, "pyarrow/parts", format="parquet", partitioning=["group"], filesystem=s3)
parts = ds.dataset("pyarrow/parts", format="parquet", partitioning=["group"], filesystem=s3)
assert parts.count_rows() == n
assert len(s3.get_file_info(fs.FileSelector("pyarrow", recursive=True))) >= 9
with s3.open_input_file("pyarrow/one.parquet") as f:
    f.seek(4); assert len(f.read(100)) == 100
s3.delete_dir("pyarrow/parts")
print(s3.get_file_info("pyarrow/one.parquet").size)
`;
    expect(Number(await python(writeTo, script))).toBeGreaterThan(1 * MiB);
  });

  test('DuckDB httpfs: Parquet written, globbed and queried', async () => {
    await aws(writeTo, 's3', 'mb', 's3://duckdb');
    const script = `
import duckdb, duckdb_extension_httpfs, pathlib
db = duckdb.connect(config={"extension_directory": os.environ.get("TMPDIR", "/tmp"), "allow_unsigned_extensions": "true"})
extension = next(pathlib.Path(duckdb_extension_httpfs.__file__).parent.glob("extensions/*/httpfs.duckdb_extension"))
db.execute(f"LOAD '{extension}'")
# A bar on standard output, once a query takes two seconds, is no part of the answer.
db.execute("SET enable_progress_bar = false")
db.execute(f"SET ca_cert_file = '{ca}'")
db.execute("SET enable_server_cert_verification = true")
db.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{host}', REGION '{region}', URL_STYLE 'path')")
db.execute("COPY (SELECT i AS id, i % 10 AS g, repeat('x', 50) || i AS t FROM range(300000) r(i)) TO 's3://duckdb/t/a.parquet' (FORMAT parquet)")
db.execute("COPY (SELECT i AS id, i % 10 AS g, 'b' AS t FROM range(1000) r(i)) TO 's3://duckdb/t/b.parquet' (FORMAT parquet)")
print(db.execute("SELECT count(*), sum(id) FROM 's3://duckdb/t/*.parquet' WHERE g = 3").fetchall())
`;
    expect((await python(writeTo, script)).trim()).toBe('[(30100, 4499989800)]');
  });

  test('a container registry keeps its images', async () => {
    await aws(writeTo, 's3', 'mb', 's3://registry');
    const content = randomBytes(33 * MiB);
    const layer = { digest: digestOf(content), content };
    const config = Buffer.from(
      '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
    );
    const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
    const manifest = {
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: 'application/vnd.docker.container.image.v1+json',
        size: config.length,
        digest: digestOf(config),
      },
      layers: [
        {
          mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
          size: content.length,
          digest: layer.digest,
        },
      ],
    };
    const pushed = await Registry.start(writeTo, 'registry');
    try {
      await pushed.pushBlob('team/image', layer);
      await pushed.pushBlob('team/image', { digest: digestOf(config), content: config });
      await pushed.pushManifest('team/image', 'v1', manifest);
    } finally {
      await pushed.stop();
    }
    const pulled = await Registry.start(readFrom, 'registry');
    try {
      expect(await pulled.tags('team/image')).toEqual(['v1']);
      expect(await pulled.pullManifest('team/image', 'v1', mediaType)).toEqual(manifest);
      expect((await pulled.pullBlob('team/image', layer.digest)).equals(content)).toBe(true);
    } finally {
      await pulled.stop();
    }
  });
});

function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
