import type { Bucket, BucketSetting } from '../../backend/backend.ts';
import { S3Error, type S3ErrorCode } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { emptyReply, xmlReply, type Reply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { bucketRequest } from './bucket_request.ts';

/** Longest configuration document, unless a setting says otherwise. */
const defaultMaxBytes = 256 * 1024;

interface SettingOptions {
  readonly setting: BucketSetting;
  /** What the caller must be allowed to do. */
  readonly action: string;
}

/** Undefined: the setting is to be absent. A function makes it of the bucket as it stands when it is changed. */
type SettingText = string | undefined | ((bucket: Bucket) => string | undefined);

/** A PUT of a document that is checked and kept as one setting of the bucket. */
export function putSetting(
  name: string,
  options: SettingOptions & {
    /** Whether S3 wants a Content-MD5 or a checksum; default: it does. */
    readonly digestRequired?: boolean;
    /** Of the document; default: 256 KiB. */
    readonly maxBytes?: number;
    /** Of the answer; default: 200. */
    readonly status?: 200 | 204;
    /** Checks the document and makes the setting's text of it; undefined where the document asks for nothing. */
    readonly read: (body: Uint8Array, call: Call) => SettingText | Promise<SettingText>;
  },
): Operation {
  return {
    name,
    async handle(call) {
      // Who may not set it learns nothing of what would be wrong with the document.
      await call.services.backend.headBucket(bucketRequest(call, options.action));
      const body = await readXmlBody(call, {
        maxBytes: options.maxBytes ?? defaultMaxBytes,
        digestRequired: options.digestRequired ?? true,
      });
      await change(call, options, await options.read(body, call));
      return emptyReply(options.status ?? 200);
    },
  };
}

/** A GET of it: S3's own refusal, or an answer made of nothing, where it was never set. */
export function getSetting(
  name: string,
  options: SettingOptions & {
    /** The document's root element. */
    readonly write: (text: string) => string;
    readonly absent: S3ErrorCode | (() => string);
  },
): Operation {
  return {
    name,
    async handle(call) {
      const bucket = await call.services.backend.headBucket(bucketRequest(call, options.action));
      const text = bucket.settings.get(options.setting);
      if (text !== undefined) return xmlReply(options.write(text));
      const { absent } = options;
      if (typeof absent === 'string') throw new S3Error(absent, '', { BucketName: call.bucket });
      return xmlReply(absent());
    },
  };
}

/** A DELETE of it, which succeeds where it was never set. */
export function deleteSetting(
  name: string,
  options: SettingOptions & { readonly reply: () => Reply },
): Operation {
  return {
    name,
    async handle(call) {
      await change(call, options, undefined);
      return options.reply();
    },
  };
}

async function change(call: Call, options: SettingOptions, text: SettingText): Promise<void> {
  await call.services.backend.updateBucketSettings({
    ...bucketRequest(call, options.action),
    change: (bucket) => ({ [options.setting]: typeof text === 'function' ? text(bucket) : text }),
  });
}
