//! Envelopes as a store may return them; see `weir_cache::fuzzing::envelope`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| weir_cache_fuzz::bounded(|| {
    weir_cache::fuzzing::envelope(input);
}));
