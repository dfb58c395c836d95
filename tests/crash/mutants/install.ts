/** `node --import` this with `S3D_MUTANT` set: the named bug is put into the source as it is loaded. */
import { registerHooks } from 'node:module';
import { mutants } from './mutants.ts';

const name = process.env['S3D_MUTANT'];
const mutant = mutants.find((candidate) => candidate.name === name);
if (mutant === undefined) throw new Error(`there is no mutant '${name ?? ''}'`);
const url = new URL(`../../../${mutant.file}`, import.meta.url).href;

registerHooks({
  load(loaded, context, next) {
    const result = next(loaded, context);
    if (loaded !== url) return result;
    const source = Buffer.from(result.source as Uint8Array).toString();
    const parts = source.split(mutant.find);
    if (parts.length !== 2)
      throw new Error(`'${mutant.name}' fits ${parts.length - 1} places in ${mutant.file}`);
    return { ...result, source: parts.join(mutant.replace) };
  },
});
