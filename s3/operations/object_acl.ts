import type { Bucket, ExistingObject } from '../../backend/backend.ts';
import { cannedAcl, decodeAcl, encodeAcl } from '../access/acl.ts';
import { hasAcls } from '../access/bucket_access.ts';
import { objectAcl, requireAcls } from '../access/ownership.ts';
import { authorize, readingObject } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { given, versionId } from '../request/parameters.ts';
import { accessControlPolicy, readAskedAcl } from './access_control.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html */
export const getObjectAcl: Operation = {
  name: 'GetObjectAcl',
  async handle(call) {
    const { backend, accounts } = call.services;
    const version = versionId(call.query);
    const action = version === undefined ? 's3:GetObjectAcl' : 's3:GetObjectVersionAcl';
    let seen: { readonly bucket: Bucket; readonly object: ExistingObject | undefined } | undefined;
    const head = await readingObject(call, action, (check) =>
      backend.headObject({
        bucket: call.bucket,
        key: call.key,
        signal: call.signal,
        authorize: (bucket, object) => {
          check(bucket, object);
          seen = { bucket, object };
        },
        ...given('versionId', version),
      }),
    );
    if (seen === undefined) throw new Error('The backend answered without asking for authorization.');
    const { bucket, object } = seen;
    const withAcl = object !== undefined && hasAcls(bucket);
    const owner = withAcl ? object.owner : bucket.owner;
    const acl = withAcl ? decodeAcl(object.acl, owner.id) : cannedAcl('private', { owner });
    return xmlReply(await accessControlPolicy(acl, { owner, accounts }), {
      headers: { ...given('x-amz-version-id', head.versionId) },
    });
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html */
export const putObjectAcl: Operation = {
  name: 'PutObjectAcl',
  async handle(call) {
    const { backend } = call.services;
    const version = versionId(call.query);
    const action = version === undefined ? 's3:PutObjectAcl' : 's3:PutObjectVersionAcl';
    const check = authorize(call, action);
    const where = { bucket: call.bucket, key: call.key, signal: call.signal, ...given('versionId', version) };
    // Who may not is told so before the body is looked at.
    await readingObject(call, action, (authorizeRead) =>
      backend.headObject({ ...where, authorize: authorizeRead }),
    );
    const { asked, ownerId } = await readAskedAcl(call);
    const updated = await backend.updateObjectAcl({
      ...where,
      authorize: check,
      change: (bucket, object) => {
        requireAcls(bucket);
        if (ownerId !== undefined && ownerId !== object.owner.id) throw new S3Error('AccessDenied');
        return encodeAcl(objectAcl(asked, { bucket, owner: object.owner }), object.owner.id);
      },
    });
    return emptyReply(200, { ...given('x-amz-version-id', updated.versionId) });
  },
};
