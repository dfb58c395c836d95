import { refuse } from './context.ts';

const allowed = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const addressLike = /^\d{1,3}(\.\d{1,3}){3}$/;
const reservedStarts = ['xn--', 'sthree-'];
const reservedEnds = ['-s3alias', '--ol-s3', '.mrap', '--x-s3', '--table-s3'];

/** @throws BackendError InvalidBucketName */
export function checkBucketName(name: string): void {
  if (!isBucketName(name))
    refuse('InvalidBucketName', 'The specified bucket is not valid.', { BucketName: name });
}

/**
 * S3's rules for names of general purpose buckets. `amzn-s3-demo-` and `-an` are reserved on S3's own service only
 * and are let through here.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
 */
export function isBucketName(name: string): boolean {
  if (!allowed.test(name) || name.includes('..') || /\.-|-\./.test(name) || addressLike.test(name))
    return false;
  return (
    !reservedStarts.some((start) => name.startsWith(start)) && !reservedEnds.some((end) => name.endsWith(end))
  );
}
