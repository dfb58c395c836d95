import type { Tags } from '../../backend/backend.ts';
import { authorize } from '../authorization.ts';
import type { Call } from '../exchange.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { given, versionId } from '../request/parameters.ts';
import { maxObjectTags, readTagging, taggingXml } from '../request/tags.ts';
import { readXmlBody } from '../request/xml_body.ts';

const maxXmlBytes = 64 * 1024;

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html */
export const getObjectTagging: Operation = {
  name: 'GetObjectTagging',
  async handle(call) {
    const object = await call.services.backend.headObject(requestOf(call, 'Get'));
    return xmlReply(taggingXml(object.tags ?? []), {
      headers: { ...given('x-amz-version-id', object.versionId) },
    });
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html */
export const putObjectTagging: Operation = {
  name: 'PutObjectTagging',
  async handle(call) {
    const xml = await readXmlBody(call, { maxBytes: maxXmlBytes });
    const tags = readTagging(xml, { maxTags: maxObjectTags });
    return emptyReply(200, await update(call, 'Put', tags));
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjectTagging.html */
export const deleteObjectTagging: Operation = {
  name: 'DeleteObjectTagging',
  async handle(call) {
    return emptyReply(204, await update(call, 'Delete', new Map()));
  },
};

async function update(call: Call, verb: 'Put' | 'Delete', tags: Tags): Promise<Record<string, string>> {
  const updated = await call.services.backend.updateObject({ ...requestOf(call, verb, tags), tags });
  return { ...given('x-amz-version-id', updated.versionId) };
}

function requestOf(call: Call, verb: 'Get' | 'Put' | 'Delete', requestTags?: Tags) {
  const version = versionId(call.query);
  const action = version === undefined ? `s3:${verb}ObjectTagging` : `s3:${verb}ObjectVersionTagging`;
  return {
    bucket: call.bucket,
    key: call.key,
    authorize: authorize(call, action, given('requestTags', requestTags)),
    signal: call.signal,
    ...given('versionId', version),
  };
}
