//! The test cases, one file per subject.

mod asking;
mod bad_input;
mod cache;
mod coalescing;
mod documentation;
mod documents;
mod durability;
mod embeddings;
mod guests;
mod http;
mod plain;
mod policies;
mod positions;
mod search;
mod startup;
mod tenants;
mod writers;
