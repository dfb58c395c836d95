import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Whether a program runs here. @param args such that it ends at once */
export async function isInstalled(program: string, args: readonly string[]): Promise<boolean> {
  try {
    await promisify(execFile)(program, [...args]);
    return true;
  } catch {
    return false;
  }
}
