import { BackendError } from '../../backend/errors.ts';
import { crossOriginRequest } from '../cors/request.ts';
import { corsHeaders, corsRulesOf } from '../cors/rules.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';

const allowable: readonly string[] = ['GET', 'PUT', 'HEAD', 'POST', 'DELETE'];

/**
 * What a browser asks before it lets a page do something to another origin. It never carries credentials, so none are
 * looked at. https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html
 */
export const preflight: Operation = {
  name: 'OptionsObject',
  async handle(call) {
    const method = call.headers.get('access-control-request-method');
    const asked = crossOriginRequest(call.headers, call.method);
    if (asked === undefined) {
      throw new S3Error('BadRequest', 'Insufficient information. Origin request header needed.');
    }
    if (method === undefined || !allowable.includes(method)) {
      throw new S3Error('BadRequest', `Invalid Access-Control-Request-Method: ${method ?? 'null'}`);
    }
    const setting = await corsSetting(call);
    if (setting === undefined) throw forbidden(call, 'CORS is not enabled for this bucket.');
    const headers = corsHeaders(corsRulesOf(setting), asked);
    if (headers === undefined) {
      throw forbidden(
        call,
        'This CORS request is not allowed. This is usually because the evalution of Origin, request method / ' +
          "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
      );
    }
    return emptyReply(200, headers);
  },
};

async function corsSetting(call: Call): Promise<string | undefined> {
  if (call.bucket === '') throw forbidden(call, 'Bucket not found');
  try {
    const bucket = await call.services.backend.headBucket({
      bucket: call.bucket,
      authorize: () => undefined,
      signal: call.signal,
    });
    return bucket.settings.get('cors');
  } catch (error) {
    if (error instanceof BackendError && error.code === 'NoSuchBucket')
      throw forbidden(call, 'Bucket not found');
    throw error;
  }
}

function forbidden(call: Call, reason: string): S3Error {
  return new S3Error('AccessForbidden', `CORSResponse: ${reason}`, {
    Method: call.headers.get('access-control-request-method') ?? '',
    ResourceType: call.key === '' ? 'BUCKET' : 'OBJECT',
  });
}
