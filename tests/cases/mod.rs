//! The cases, a file a subject.

mod http;
