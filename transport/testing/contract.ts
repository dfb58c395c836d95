import { afterEach, describe } from 'vitest';
import { connectionContract } from './contract_connections.ts';
import { flowContract } from './contract_flow.ts';
import { requestContract } from './contract_requests.ts';
import { securityContract } from './contract_security.ts';
import { type ContractSubject, Rig } from './rig.ts';

/** What each driver must do, seen from both ends of it. */
export function transportContract(name: string, subject: ContractSubject): void {
  describe(`${name}: transport contract`, () => {
    const rig = new Rig(subject);
    afterEach(() => rig.close());
    requestContract(rig);
    flowContract(rig);
    connectionContract(rig);
    securityContract(rig);
  });
}
