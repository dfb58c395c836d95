import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { STANDARD } from './current_version.ts';

/** The class that new content takes. @throws BackendError InvalidStorageClass for one that isn't configured. */
export function storageClassOf(
  context: Pick<EngineContext, 'storageClasses'>,
  request: { readonly storageClass?: string },
): string {
  const { storageClass = STANDARD } = request;
  if (storageClass === STANDARD || context.storageClasses.has(storageClass)) return storageClass;
  return refuse('InvalidStorageClass', 'The storage class you specified is not valid', {
    StorageClassRequested: storageClass,
  });
}
