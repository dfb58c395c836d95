/**
 * s3d as a library: open a backend in one's own program, put and get objects, without HTTP.
 *
 * @module
 */
export type * from './backend/backend.ts';
export { BackendError, type BackendErrorCode } from './backend/errors.ts';
export {
  openFilesystemBackend,
  type FilesystemBackendOptions,
  type FilesystemBucket,
} from './backend/filesystem/filesystem_backend.ts';
export { openDistributedBackend, type EmbeddedBackend, type EmbedOptions } from './cmd/embed.ts';
