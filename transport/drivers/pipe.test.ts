import { transportContract } from '../testing/contract.ts';
import { PipeNetwork } from './pipe.ts';

transportContract('pipe', { driver: () => new PipeNetwork().driver, secure: false });
