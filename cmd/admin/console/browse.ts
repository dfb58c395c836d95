import { html } from 'hono/html';
import type { ObjectPage } from '../../../backend/backend.ts';
import { readableBytes } from '../../byte_sizes.ts';
import { page } from './page.ts';

/** One page of a bucket's keys below a prefix, by `/` as if they were folders. */
export function browsePage(
  where: { readonly bucket: string; readonly prefix: string },
  listing: ObjectPage,
): ReturnType<typeof page> {
  const { bucket, prefix } = where;
  const here = `/browse/${encodeURIComponent(bucket)}`;
  const folder = (name: string): string => `${here}?prefix=${encodeURIComponent(name)}`;
  const up = prefix.slice(0, prefix.replace(/\/$/, '').lastIndexOf('/') + 1);
  return page(
    `${bucket}/${prefix}`,
    html`<p><a href="/">All buckets</a>${prefix === '' ? '' : html` · <a href="${folder(up)}">Up</a>`}</p>
      <table>
        <tr>
          <th>Key</th>
          <th class="number">Size</th>
          <th>Last modified</th>
          <th>Class</th>
        </tr>
        ${listing.prefixes.map(
          (name) =>
            html`<tr>
              <td class="key"><a href="${folder(name)}">${name.slice(prefix.length)}</a></td>
              <td></td>
              <td></td>
              <td></td>
            </tr>`,
        )}
        ${listing.objects.map(
          ({ key, sizeBytes, lastModifiedMs, storageClass }) =>
            html`<tr>
              <td class="key"><a href="${objectPath(bucket, key)}">${key.slice(prefix.length)}</a></td>
              <td class="number">${readableBytes(sizeBytes)}</td>
              <td>${new Date(lastModifiedMs).toISOString()}</td>
              <td class="quiet">${storageClass}</td>
            </tr>`,
        )}
      </table>
      ${
        listing.next === undefined
          ? ''
          : html`<p>
              <a href="${folder(prefix)}&after=${encodeURIComponent(listing.next)}">Next page</a>
            </p>`
      }`,
  );
}

/** Where the plain REST API gives the object out. */
function objectPath(bucket: string, key: string): string {
  return `/objects/${encodeURIComponent(bucket)}/${encodeURIComponent(key)}`;
}
