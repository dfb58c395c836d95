import { S3Error } from '../errors.ts';
import type { Operation } from '../operation.ts';
import { readXml } from '../xml/read.ts';
import { element, root } from '../xml/write.ts';
import { getSetting, putSetting } from './bucket_setting.ts';

const place = { setting: 'request-payment' } as const;

/**
 * Nobody is billed here, so the owner of a bucket pays for it and a requester can't be made to.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketRequestPayment.html
 */
export const putBucketRequestPayment: Operation = putSetting('PutBucketRequestPayment', {
  ...place,
  action: 's3:PutBucketRequestPayment',
  read(xml) {
    const payer = readXml(xml, 'RequestPaymentConfiguration').requiredText('Payer').trim();
    if (payer === 'Requester') throw new S3Error('NotImplemented', '', { Element: 'Payer' });
    if (payer !== 'BucketOwner') throw new S3Error('MalformedXML');
    return undefined;
  },
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketRequestPayment.html */
export const getBucketRequestPayment: Operation = getSetting('GetBucketRequestPayment', {
  ...place,
  action: 's3:GetBucketRequestPayment',
  write: payment,
  absent: () => payment('BucketOwner'),
});

function payment(payer: string): string {
  return root('RequestPaymentConfiguration', element('Payer', payer));
}
