//! The test cases, one file per subject.

mod asking;
mod attacks;
mod bad_input;
mod cache;
mod coalescing;
mod demands;
mod documentation;
mod documents;
mod durability;
mod embeddings;
mod exactness;
mod faults;
mod full_disk;
mod guests;
mod histories;
mod http;
mod model_faults;
mod models;
mod plain;
mod policies;
mod positions;
mod quotas;
mod search;
mod startup;
mod tenants;
mod writers;
