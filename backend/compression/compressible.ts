import type { SystemMetadata } from '../backend.ts';

/** Types that are compressed by what they are; everything else is tried. */
const compressedTypes: readonly RegExp[] = [
  /^(?:audio|video)\//,
  /^image\/(?!svg|bmp|x-ms-bmp|tiff|x-portable|vnd\.adobe\.photoshop)/,
  /^font\/woff2?$/,
  /^application\/(?:x-)?(?:zip|gzip|bzip2?|xz|lzma|lz4|zstd|brotli|compress|7z-compressed|rar-compressed|rar)\b/,
  /^application\/(?:java-archive|vnd\.rar|vnd\.android\.package-archive|epub\+zip|x-apple-diskimage)\b/,
  /^application\/vnd\.(?:openxmlformats-officedocument|oasis\.opendocument)\./,
  /^application\/(?:vnd\.apache\.parquet|x-parquet|font-woff2?|age-encryption|pgp-encrypted)\b/,
];

/** Whether it is worth trying to compress content that says this of itself. */
export function mayShrink(metadata: SystemMetadata): boolean {
  const encoding = metadata.contentEncoding?.trim().toLowerCase() ?? '';
  if (encoding !== '' && encoding !== 'identity') return false;
  const type = metadata.contentType?.trim().toLowerCase() ?? '';
  return !compressedTypes.some((pattern) => pattern.test(type));
}
