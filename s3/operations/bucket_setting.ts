import type { BucketSetting } from '../../backend/backend.ts';
import { authorize } from '../authorization.ts';
import { S3Error, type S3ErrorCode } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { emptyReply, xmlReply, type Reply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readXmlBody } from '../request/xml_body.ts';

/** Longest configuration document. */
const maxXmlBytes = 256 * 1024;

interface SettingOptions {
  readonly setting: BucketSetting;
  /** What the caller must be allowed to do. */
  readonly action: string;
}

/** A PUT of a document that is checked and kept as one setting of the bucket. */
export function putSetting(
  name: string,
  options: SettingOptions & {
    /** Whether S3 wants a Content-MD5 or a checksum; default: it does. */
    readonly digestRequired?: boolean;
    /** Checks the document and makes the setting's text of it; undefined where the document asks for nothing. */
    readonly read: (xml: Uint8Array, call: Call) => string | undefined | Promise<string | undefined>;
  },
): Operation {
  return {
    name,
    async handle(call) {
      // Who may not set it learns nothing of what would be wrong with the document.
      await call.services.backend.headBucket(requestOf(call, options));
      const xml = await readXmlBody(call, {
        maxBytes: maxXmlBytes,
        digestRequired: options.digestRequired ?? true,
      });
      const text = await options.read(xml, call);
      await change(call, options, text);
      return emptyReply(200);
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
      const bucket = await call.services.backend.headBucket(requestOf(call, options));
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

async function change(call: Call, options: SettingOptions, text: string | undefined): Promise<void> {
  await call.services.backend.updateBucketSettings({
    ...requestOf(call, options),
    change: () => ({ [options.setting]: text }),
  });
}

function requestOf(call: Call, options: SettingOptions) {
  return { bucket: call.bucket, authorize: authorize(call, options.action), signal: call.signal };
}
