import { knownActions } from './actions.ts';
import { isKnownConditionKey } from './condition_keys.ts';
import { Policies } from './policies.ts';

/** For policies about the actions and condition keys that mean something here. */
export function accessPolicies(): Policies {
  return new Policies({ actions: knownActions, knownKey: isKnownConditionKey });
}
