import { html } from 'hono/html';
import type { HtmlEscapedString } from 'hono/utils/html';
import type { BucketInfo } from '../../../backend/backend.ts';
import type { ClusterView, DatabaseView, NodeView } from '../cluster_view.ts';
import { readableBytes } from '../../byte_sizes.ts';
import { page } from './page.ts';

/** Whether requests can be served, what runs where, what is short, and the administrator's buckets. */
export async function overviewPage(
  view: ClusterView,
  buckets: readonly BucketInfo[],
): Promise<HtmlEscapedString> {
  const [obstacles, databases, nodes, repair] = await Promise.all([
    view.obstacles(),
    view.databases(),
    view.nodes(),
    view.repair(),
  ]);
  const health =
    obstacles.length === 0
      ? html`<p class="ok">Serving requests.</p>`
      : html`<ul class="wrong">
          ${obstacles.map((obstacle) => html`<li>${obstacle}</li>`)}
        </ul>`;
  const short =
    repair.objects === 0
      ? html`<p>Every object has all of its shards.</p>`
      : html`<p class="suspect">
          ${String(repair.objects)} objects (${readableBytes(repair.bytes)}) have fewer shards than promised;
          whole again in about ${readableDuration(repair.etaSeconds)}.
        </p>`;
  return page(
    'Overview',
    html`<p class="quiet">Cluster ${view.clusterId}</p>
      ${health}
      ${
        nodes.length === 0
          ? ''
          : html`<h2>Shard nodes</h2>
              ${nodeTable(nodes)}${short}`
      }
      ${
        databases.length === 0
          ? ''
          : html`<h2>Database replicas</h2>
              ${databaseTable(databases)}`
      }
      <h2>Buckets</h2>
      ${bucketTable(buckets)}`,
  );
}

function nodeTable(nodes: readonly NodeView[]): ReturnType<typeof page> {
  return html`<table>
    <tr>
      <th>Node</th>
      <th>State</th>
      <th class="number">Used</th>
      <th class="number">Free</th>
      <th></th>
    </tr>
    ${nodes.map(
      ({ id, state, usedBytes, freeBytes }) =>
        html`<tr>
          <td>${String(id)}</td>
          <td class="${state}">${state}</td>
          <td class="number">${usedBytes === undefined ? '' : readableBytes(usedBytes)}</td>
          <td class="number">${freeBytes === undefined ? '' : readableBytes(freeBytes)}</td>
          <td>
            ${
              usedBytes === undefined || freeBytes === undefined
                ? ''
                : html`<progress
                    max="${String(usedBytes + freeBytes)}"
                    value="${String(usedBytes)}"
                  ></progress>`
            }
          </td>
        </tr>`,
    )}
  </table>`;
}

function databaseTable(databases: readonly DatabaseView[]): ReturnType<typeof page> {
  return html`<table>
    <tr>
      <th>Replica</th>
      <th>State</th>
      <th>Role</th>
    </tr>
    ${databases.map(
      ({ id, up, role }) =>
        html`<tr>
          <td>${String(id)}</td>
          <td class="${up ? 'up' : 'down'}">${up ? 'up' : 'down'}</td>
          <td class="${role}">${role}</td>
        </tr>`,
    )}
  </table>`;
}

function bucketTable(buckets: readonly BucketInfo[]): ReturnType<typeof page> {
  if (buckets.length === 0) return html`<p class="quiet">This account has none.</p>`;
  return html`<table>
    <tr>
      <th>Name</th>
      <th>Created</th>
      <th>Access</th>
    </tr>
    ${buckets.map(
      ({ name, createdMs, public: open }) =>
        html`<tr>
          <td class="key"><a href="/browse/${encodeURIComponent(name)}">${name}</a></td>
          <td>${new Date(createdMs).toISOString()}</td>
          <td>${open ? 'public by configuration' : ''}</td>
        </tr>`,
    )}
  </table>`;
}

function readableDuration(seconds: number): string {
  if (seconds < 120) return `${Math.ceil(seconds)} seconds`;
  if (seconds < 7200) return `${Math.ceil(seconds / 60)} minutes`;
  return `${Math.ceil(seconds / 3600)} hours`;
}
