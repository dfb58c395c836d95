import { afterAll, beforeAll, describe } from 'vitest';
import type { Backend } from '../../backend/backend.ts';
import { bucketCases } from './backend_buckets.ts';
import { copyCases } from './backend_copies.ts';
import { listingCases, neighbourCases } from './backend_listings.ts';
import { memoryCases } from './backend_memory.ts';
import { multipartCases } from './backend_multipart.ts';
import { objectCases } from './backend_objects.ts';
import { ownershipCases } from './backend_ownership.ts';
import { preconditionCases } from './backend_preconditions.ts';
import { bucketRaceCases, raceCases } from './backend_races.ts';
import { settingCases } from './backend_settings.ts';
import { markCases } from './backend_marks.ts';
import { versionCases } from './backend_versions.ts';

interface OpenedBackend {
  readonly backend: Backend;
  readonly close: () => Promise<void>;
}

interface BackendAbilities {
  /** False: its buckets come from the configuration alone, through `takeBucketsFrom`. */
  readonly makesBuckets: boolean;
}

/** What every Backend promises, whatever it stands on. */
export function backendContract(
  name: string,
  open: () => Promise<OpenedBackend>,
  abilities: BackendAbilities = { makesBuckets: true },
): void {
  describe(`${name} as a Backend`, () => {
    let opened: OpenedBackend | undefined;
    beforeAll(async () => {
      opened = await open();
    }, 60_000);
    afterAll(async () => {
      await opened?.close();
    }, 60_000);
    const backend = (): Backend => {
      if (opened === undefined) throw new Error('the backend did not open');
      return opened.backend;
    };
    if (abilities.makesBuckets) {
      bucketCases(backend);
      bucketRaceCases(backend);
      settingCases(backend);
      ownershipCases(backend);
      versionCases(backend);
      markCases(backend);
      neighbourCases(backend);
    }
    objectCases(backend);
    preconditionCases(backend);
    copyCases(backend);
    listingCases(backend);
    multipartCases(backend);
    raceCases(backend);
    memoryCases(backend);
  });
}
