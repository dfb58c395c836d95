// CRC-64/NVME, reflected polynomial 0x9A6C9329AC4BC9B5, slice-by-16.
// Linear memory: sixteen tables of 256 u64 (32 KiB) from TABLES, then the input window from WINDOW.

const POLYNOMIAL: u64 = 0x9a6c9329ac4bc9b5;
const TABLES: usize = 1024;
const WINDOW: usize = 65536;
export const WINDOW_OFFSET: i32 = 65536;
export const WINDOW_BYTES: i32 = 65536;

/** Fills the tables; called once after instantiation. */
export function prepare(): void {
  const pages = memory.size();
  if (pages < 2) memory.grow(2 - pages);
  for (let i: u32 = 0; i < 256; i++) {
    let crc: u64 = i;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
    store<u64>(TABLES + ((<usize>i) << 3), crc);
  }
  for (let i: u32 = 0; i < 256; i++) {
    let crc = load<u64>(TABLES + ((<usize>i) << 3));
    for (let t: usize = 1; t < 16; t++) {
      crc = load<u64>(TABLES + ((<usize>(crc & 255)) << 3)) ^ (crc >> 8);
      store<u64>(TABLES + (t << 11) + ((<usize>i) << 3), crc);
    }
  }
}

function entry(table: usize, byte: u64): u64 {
  return load<u64>(TABLES + (table << 11) + ((<usize>(byte & 255)) << 3));
}

/** Goes on from `state` (the register, without the final complement) over the first `length` bytes of the window. */
export function update(state: u64, length: i32): u64 {
  let crc = state;
  let at = WINDOW;
  const end = at + <usize>length;
  while (at + 16 <= end) {
    const low = load<u64>(at) ^ crc;
    const high = load<u64>(at + 8);
    crc =
      entry(15, low) ^
      entry(14, low >> 8) ^
      entry(13, low >> 16) ^
      entry(12, low >> 24) ^
      entry(11, low >> 32) ^
      entry(10, low >> 40) ^
      entry(9, low >> 48) ^
      entry(8, low >> 56) ^
      entry(7, high) ^
      entry(6, high >> 8) ^
      entry(5, high >> 16) ^
      entry(4, high >> 24) ^
      entry(3, high >> 32) ^
      entry(2, high >> 40) ^
      entry(1, high >> 48) ^
      entry(0, high >> 56);
    at += 16;
  }
  while (at < end) {
    crc = entry(0, crc ^ load<u8>(at)) ^ (crc >> 8);
    at++;
  }
  return crc;
}
