//! A policy whose key is the body and the header `x-flavour`, in lower case. An answer made from
//! that header is kept, separately for each flavour.

use weir_sdk::policy::{KeyPlan, Planning, Settings, Source, Storage, Transform};

struct ByFlavour;

impl Planning for ByFlavour {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        Ok(KeyPlan::new(Storage::memory(300_000))
            .part(Source::Body, [])
            .part(Source::Header("x-flavour".into()), [Transform::Lowercase]))
    }
}

weir_sdk::policy!(ByFlavour);
