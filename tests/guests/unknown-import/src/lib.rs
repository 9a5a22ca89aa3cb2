//! Imports an interface that no host provides.

use weir_sdk::{Failure, Pipeline, Request, Response};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package weir:teleport@0.1.0;
            interface beam { to: func(place: string) -> bool; }
            world traveller { import beam; }
        ",
        world: "weir:teleport/traveller",
        generate_all,
    });
}

struct UnknownImport;

impl Pipeline for UnknownImport {
    async fn handle(_request: Request) -> Result<Response, Failure> {
        Response::json(&bindings::weir::teleport::beam::to("the host"))
    }
}

weir_sdk::pipeline!(UnknownImport);
