//! Contents of envelopes as a faulty node may write them; see `weir_cache::fuzzing::record`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| weir_cache_fuzz::bounded(|| {
    weir_cache::fuzzing::record(input);
}));
