//! What the programs in `fuzz_targets` have in common: how inputs are mutated. What is done with one is in
//! `opssc::fuzzing`, beside the decoders.

use opssc::fuzzing::mutate::{Dice, mutate};

/// The program of one target.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| opssc::fuzzing::$name(input));
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutated(data, size, max_size, seed)
        });
    };
}

/// Changes the first `size` bytes of `data`: as libFuzzer does, or one field of a message. Gives the new size.
pub fn mutated(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if seed % 2 == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let changed = mutate(&data[..size], &mut Dice::new(seed.into()), max_size);
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
}
