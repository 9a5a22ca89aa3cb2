//! What a policy sees.

use crate::bindings::planning::weir::policy::types as wit;

/// A request as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    /// The tenant that owns the pipeline.
    pub tenant: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The path, percent-decoded.
    pub path: String,
    /// All query parameters, percent-decoded, in order.
    pub query: Vec<(String, String)>,
    /// All headers, with names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The JSON fields that the plan names, as JSON Pointer and canonical JSON text after the
    /// plan's transforms. Absent fields are left out.
    pub fields: Vec<(String, String)>,
}

impl From<wit::RequestView> for RequestView {
    fn from(view: wit::RequestView) -> Self {
        let wit::RequestView { tenant, pipeline, path, query, headers, fields } = view;
        Self { tenant, pipeline, path, query, headers, fields }
    }
}

/// An answer as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status.
    pub status: u16,
    /// The headers that the pipeline set.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The length of the body in bytes; `None` for a streamed body.
    pub body_bytes: Option<u64>,
    /// How long the pipeline took, in milliseconds, rounded down.
    pub compute_ms: u32,
    /// Everything that the answer was made from.
    pub reads: Vec<Read>,
}

impl From<wit::Outcome> for Outcome {
    fn from(outcome: wit::Outcome) -> Self {
        let wit::Outcome { status, headers, body_bytes, compute_ms, reads } = outcome;
        let reads = reads.into_iter().map(Into::into).collect();
        Self { status, headers, body_bytes, compute_ms, reads }
    }
}

/// One thing that an answer was made from. Things that were requested but do not exist also count.
/// Today the host reports every read as a [`Search`](Self::Search).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Read {
    /// A document.
    Document {
        /// Its collection.
        collection: String,
        /// Its id.
        id: String,
    },
    /// A search of this collection, whatever it found.
    Search(String),
    /// A table of a database.
    Table {
        /// The database, by the name that the operator granted.
        database: String,
        /// The table.
        table: String,
    },
    /// A key of a bucket.
    BucketKey {
        /// The bucket, by the name that the operator granted.
        bucket: String,
        /// The key.
        key: String,
    },
    /// An HTTP origin, by the name that the operator granted. The host cannot see it change.
    Origin(String),
    /// A cached fragment, by its key.
    Fragment(Vec<String>),
    /// A clock. The host cannot see it change.
    Clock,
}

impl From<wit::Read> for Read {
    fn from(read: wit::Read) -> Self {
        match read {
            wit::Read::Document(wit::DocumentRead { collection, id }) => {
                Self::Document { collection, id }
            }
            wit::Read::Search(collection) => Self::Search(collection),
            wit::Read::Table(wit::TableRead { database, table }) => Self::Table { database, table },
            wit::Read::BucketKey(wit::BucketRead { bucket, key }) => {
                Self::BucketKey { bucket, key }
            }
            wit::Read::Origin(origin) => Self::Origin(origin),
            wit::Read::Fragment(key) => Self::Fragment(key),
            wit::Read::Clock => Self::Clock,
        }
    }
}

/// A failure of a pipeline as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRun {
    /// How it failed.
    pub kind: FailureKind,
    /// The pipeline's own code, if it returned a failure.
    pub code: Option<String>,
    /// How long the pipeline took, in milliseconds, rounded down.
    pub compute_ms: u32,
    /// Everything that it had read.
    pub reads: Vec<Read>,
}

impl From<wit::Failure> for FailedRun {
    fn from(failure: wit::Failure) -> Self {
        let wit::Failure { kind, code, compute_ms, reads } = failure;
        let reads = reads.into_iter().map(Into::into).collect();
        Self { kind: kind.into(), code, compute_ms, reads }
    }
}

/// How a pipeline can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// It returned an `invalid-request`.
    InvalidRequest,
    /// It returned a `not-found`.
    NotFound,
    /// It returned a `denied`.
    Denied,
    /// It returned an `unavailable`.
    Unavailable,
    /// It returned a `timed-out`.
    TimedOut,
    /// It returned a `failed`.
    Failed,
    /// It took longer than its deadline.
    DeadlineExceeded,
    /// It needed more memory than it may have, or a deeper stack.
    MemoryExceeded,
    /// It trapped.
    Trapped,
    /// What it returned is no answer, or too large.
    InvalidAnswer,
    /// The host failed while it ran.
    HostFailed,
}

impl From<wit::FailureKind> for FailureKind {
    fn from(kind: wit::FailureKind) -> Self {
        match kind {
            wit::FailureKind::InvalidRequest => Self::InvalidRequest,
            wit::FailureKind::NotFound => Self::NotFound,
            wit::FailureKind::Denied => Self::Denied,
            wit::FailureKind::Unavailable => Self::Unavailable,
            wit::FailureKind::TimedOut => Self::TimedOut,
            wit::FailureKind::Failed => Self::Failed,
            wit::FailureKind::DeadlineExceeded => Self::DeadlineExceeded,
            wit::FailureKind::MemoryExceeded => Self::MemoryExceeded,
            wit::FailureKind::Trapped => Self::Trapped,
            wit::FailureKind::InvalidAnswer => Self::InvalidAnswer,
            wit::FailureKind::HostFailed => Self::HostFailed,
        }
    }
}

/// A change of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The collection was created.
    CollectionCreated,
    /// It was deleted, with all of its documents.
    CollectionDeleted,
    /// The document with this id was added or replaced.
    DocumentPut(String),
    /// The document with this id was deleted.
    DocumentDeleted(String),
}

impl From<wit::Change> for Change {
    fn from(change: wit::Change) -> Self {
        match change {
            wit::Change::CollectionCreated => Self::CollectionCreated,
            wit::Change::CollectionDeleted => Self::CollectionDeleted,
            wit::Change::DocumentPut(id) => Self::DocumentPut(id),
            wit::Change::DocumentDeleted(id) => Self::DocumentDeleted(id),
        }
    }
}
