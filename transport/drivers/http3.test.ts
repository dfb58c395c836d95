import { transportContract } from '../testing/contract.ts';
import { http3Driver } from './http3.ts';

transportContract('http3', { driver: () => http3Driver, secure: true });
