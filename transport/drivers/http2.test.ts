import { transportContract } from '../testing/contract.ts';
import { http2Driver } from './http2.ts';

transportContract('http2', { driver: () => http2Driver, secure: true });
