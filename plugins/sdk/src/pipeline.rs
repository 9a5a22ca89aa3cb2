//! The trait of pipelines, and the macro that turns one into a component.

use std::future::Future;

use crate::bindings::pipeline::weir::pipeline::types as wit;
use crate::{Failure, Request, Response};

/// A pipeline: answers requests. Pass it to [`pipeline!`](crate::pipeline!).
pub trait Pipeline {
    /// Answers one request, in a fresh instance that is dropped afterwards. Write it as
    /// `async fn handle`.
    fn handle(request: Request) -> impl Future<Output = Result<Response, Failure>>;
}

/// Makes the named type, which implements [`Pipeline`], the component's pipeline. Use it once in
/// a crate.
#[macro_export]
macro_rules! pipeline {
    ($pipeline:ty) => {
        const _: () = {
            struct Exported;

            impl $crate::bindings::pipeline::exports::weir::pipeline::handler::Guest for Exported {
                async fn handle(
                    request: $crate::bindings::pipeline::weir::pipeline::types::Request,
                ) -> Result<
                    $crate::bindings::pipeline::weir::pipeline::types::Response,
                    $crate::bindings::pipeline::weir::pipeline::types::Failure,
                > {
                    $crate::run_pipeline::<$pipeline>(request).await
                }
            }

            $crate::bindings::pipeline::export_pipeline!(
                Exported with_types_in $crate::bindings::pipeline
            );
        };
    };
}

/// What [`pipeline!`](crate::pipeline!) exports.
#[doc(hidden)]
pub async fn run_pipeline<P: Pipeline>(
    request: wit::Request,
) -> Result<wit::Response, wit::Failure> {
    match P::handle(Request(request)).await {
        Ok(response) => Ok(response.into_wit()),
        Err(failure) => Err(failure.into_wit()),
    }
}
